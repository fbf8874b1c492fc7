# SPDX-License-Identifier: MIT-0
"""Multi-head attention: every head has its own columns of the projections, and its own weights.

With --numpy, by the NumPy function below instead of that of attention.
"""
import sys

import numpy as np

if "--numpy" in sys.argv:
    def multi_head_attention(X, W_q, W_k, W_v, W_o, num_heads, return_weights=False):
        def split(x):  # (tokens, heads * d) to (heads, tokens, d)
            return x.reshape(len(x), num_heads, -1).swapaxes(0, 1)

        Q, K, V = split(X @ W_q), split(X @ W_k), split(X @ W_v)
        scores = Q @ K.swapaxes(-1, -2) / np.sqrt(K.shape[-1])
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = e / e.sum(axis=-1, keepdims=True)
        joined = (weights @ V).swapaxes(0, 1).reshape(len(X), -1)
        return (joined @ W_o, weights) if return_weights else joined @ W_o
else:
    from attention import multi_head_attention

rng = np.random.default_rng(5)
d_model, num_heads, tokens = 8, 2, 4
X = rng.standard_normal((tokens, d_model))
W_q, W_k, W_v, W_o = (rng.standard_normal((d_model, d_model)) / np.sqrt(d_model) for _ in range(4))
output, weights = multi_head_attention(X, W_q, W_k, W_v, W_o, num_heads, return_weights=True)

np.set_printoptions(precision=4, suppress=True)
for head in range(num_heads):
    print(f"head {head}", weights[head], sep="\n")
print("output", output, sep="\n")
