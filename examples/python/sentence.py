# SPDX-License-Identifier: MIT-0
"""Which word looks at which? The attention weights of a sentence, with random embeddings and projections.

    python3 sentence.py "The cat sat on the mat"

With --numpy, by the NumPy functions below instead of those of attention.
"""
import sys

import numpy as np

if "--numpy" in sys.argv:
    def compute_qkv(X, W_q, W_k, W_v):
        return X @ W_q, X @ W_k, X @ W_v

    def softmax(x, axis=-1):
        e = np.exp(x)
        return e / e.sum(axis=axis, keepdims=True)
else:
    from attention import compute_qkv, softmax

words = ([text for text in sys.argv[1:] if not text.startswith("-")] or ["The cat sat on the mat"])[0].split()
rng = np.random.default_rng(42)
vocabulary = {word: rng.standard_normal(8) for word in sorted({word.lower() for word in words})}
X = np.array([vocabulary[word.lower()] for word in words])
W_q, W_k, W_v = (rng.standard_normal((8, 4)) / np.sqrt(8) for _ in range(3))

Q, K, V = compute_qkv(X, W_q, W_k, W_v)
weights = softmax(Q @ K.T / np.sqrt(K.shape[-1]), axis=-1)

print(" " * 8 + "".join(f"{word:>8.7}" for word in words))
for word, row in zip(words, weights):
    print(f"{word:>8.7}" + "".join(f"{weight:8.3f}" for weight in row))
print("sums    " + "".join(f"{total:8.3f}" for total in weights.sum(axis=-1)))
