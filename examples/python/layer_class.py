# SPDX-License-Identifier: MIT-0
"""A layer as a class, with random weights that a seed decides.

With --numpy, by the NumPy function below instead of that of attention.
"""
import sys

import numpy as np

if "--numpy" in sys.argv:
    def self_attention_layer(X, W_q, W_k, W_v):
        Q, K, V = X @ W_q, X @ W_k, X @ W_v
        scores = Q @ K.T / np.sqrt(K.shape[-1])
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = e / e.sum(axis=-1, keepdims=True)
        return weights @ V, weights
else:
    from attention import self_attention_layer


class SelfAttention:
    def __init__(self, d_model, d_k, d_v, seed):
        rng = np.random.default_rng(seed)
        self.W_q = rng.standard_normal((d_model, d_k)) / np.sqrt(d_model)
        self.W_k = rng.standard_normal((d_model, d_k)) / np.sqrt(d_model)
        self.W_v = rng.standard_normal((d_model, d_v)) / np.sqrt(d_model)

    def __call__(self, X):
        return self_attention_layer(X, self.W_q, self.W_k, self.W_v)


layer = SelfAttention(d_model=16, d_k=8, d_v=4, seed=7)
tokens = np.random.default_rng(1).standard_normal((5, 16))
output, weights = layer(tokens)

np.set_printoptions(precision=4, suppress=True)
print(f"{tokens.shape} in, {output.shape} out", output, sep="\n")
print("token 0 looks at", weights[0])
