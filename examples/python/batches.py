# SPDX-License-Identifier: MIT-0
"""Several sentences at once: one more dimension in front.

np.dot(Q, K^T) of arrays (2, 6, 4) would give (2, 6, 2, 6), the scores of every sentence with every other. What is
meant is (2, 6, 6), each with itself: the operator @, or the functions of attention.

With --numpy, by the NumPy functions below instead of those of attention.
"""
import sys

import numpy as np

if "--numpy" in sys.argv:
    def compute_qkv(X, W_q, W_k, W_v):
        return X @ W_q, X @ W_k, X @ W_v

    def compute_self_attention_scores(Q, K):
        return Q @ np.swapaxes(K, -1, -2) / np.sqrt(K.shape[-1])

    def softmax(x, axis=-1):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)
else:
    from attention import compute_qkv, compute_self_attention_scores, softmax

rng = np.random.default_rng(3)
X = rng.standard_normal((2, 6, 8))
Q, K, V = compute_qkv(X, *(rng.standard_normal((8, 4)) / np.sqrt(8) for _ in range(3)))
scores = compute_self_attention_scores(Q, K)
weights = softmax(scores, axis=-1)

np.set_printoptions(precision=4, suppress=True)
print("np.dot", np.dot(Q, np.swapaxes(K, -1, -2)).shape, "scores", scores.shape)
for number, of_one in enumerate(weights):
    print(f"weights of sentence {number}", of_one, sep="\n")
