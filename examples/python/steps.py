# SPDX-License-Identifier: MIT-0
"""Self-attention step by step: scores, weights, output; and all of it in one call.

With --numpy, by the NumPy functions below instead of those of attention.
"""
import sys

import numpy as np

if "--numpy" in sys.argv:
    def compute_self_attention_scores(Q, K):
        return Q @ K.T / np.sqrt(K.shape[-1])

    def softmax_attention_weights(scores):
        e = np.exp(scores)
        return e / e.sum(axis=-1, keepdims=True)

    def compute_attention_output(weights, V):
        return weights @ V

    def self_attention(Q, K, V):
        return compute_attention_output(softmax_attention_weights(compute_self_attention_scores(Q, K)), V)
else:
    from attention import (compute_attention_output, compute_self_attention_scores, self_attention,
                           softmax_attention_weights)

Q = np.array([[1, 0, 1], [0, 2, 0], [1, 1, 0]])
K = np.array([[1, 1, 0], [0, 1, 1], [2, 0, 1]])
V = np.array([[1, 0], [0, 1], [5, 5]])

np.set_printoptions(precision=4, suppress=True)
scores = compute_self_attention_scores(Q, K)
print("scores: how well each query fits each key", scores, sep="\n")
weights = softmax_attention_weights(scores)
print("weights: each row sums to 1", weights, sep="\n")
print("output: each row is a mixture of the rows of V", compute_attention_output(weights, V), sep="\n")
print("the same in one call", self_attention(Q, K, V), sep="\n")
