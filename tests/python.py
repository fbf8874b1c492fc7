# SPDX-License-Identifier: MIT-0
"""python.py - what attention.py promises: results within a derived bound, types, shapes, strides, errors, threads.

    python3 tests/python.py FOLDER    runs the programs in this folder, too

Prints TAP. tests/python.sh runs it where the module can be imported, and tests what is not about the functions.
"""
import contextlib
import doctest
import io
import os
import re
import runpy
import sys
import tempfile
import threading
import time
import tracemalloc
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import attention
from attention import (Cache, compute_attention_output, compute_qkv, compute_self_attention_scores, dequantize,
                       llama3_factors, multi_head_attention, quantize, rotary, scaled_dot_product_attention,
                       self_attention, self_attention_layer, show, softmax, softmax_attention_weights, yarn_factors)

number = 0
rng = np.random.default_rng(1)
TYPES = (np.float64, np.float32, np.float16)
REAL = np.longdouble


def ok(passed, name, *details):
    global number
    number += 1
    print(f"{'' if passed else 'not '}ok {number} - {name}")
    if not passed:
        print(*(f"# {line}" for detail in details for line in str(detail).splitlines()[:20]), sep="\n")


def normal(*shape, dtype=np.float64):
    return rng.standard_normal(shape).astype(dtype)


def raises(kind, words, function, *arguments, **options):
    """Does it raise this kind of exception, with all of these words in its message?"""
    try:
        result = function(*arguments, **options)
    except kind as error:
        missing = [word for word in words if word not in str(error)]
        ok(not missing, f"{kind.__name__}: {error}", f"it does not say {missing}")
    except Exception as error:
        ok(False, f"{kind.__name__} with {words}", repr(error))
    else:
        ok(False, f"{kind.__name__} with {words}", "no error, but", result)


# ----------------------------------------------------------------- the bound --
#
# A result is compared with the same formula in long double. To first order, with u the unit roundoff of the type that
# is computed in, d the length of a dot product, n the number of keys, and all numbers of one row:
#
#   score    A = |scale| sum |q k| + |bias|: q is scaled by a rounded factor (3 roundings: the factor, its product with
#            log2 e, q), each of d products and sums adds one, bias one and softcap, whose derivative is at most 1, a
#            few: |error| <= (d + 10) u A
#   weight   exp of score - max: the difference rounds by u |x|, the argument's unit once more, exp itself by less than
#            2 ulp: a factor within exp(+-D), D = u ((d + 10) A + 2 |x| + 4), which the sum of weights has, too, beside
#            n more roundings; so a quotient is off by a factor within exp(+-(2 D + (n + 4) u))
#   output   n more roundings, of products and sums: sum of weight |v| * (exp(2 D + (2 n + 6) u) - 1)
#   lse      D + (n + 6) u (1 + |lse|)
#
# Rounding to float16 adds half an ulp of it; what underflows, the least normal number for each key. u is doubled for
# the reference, as long double may be double.

def unit(dtype):
    return 2 * float(np.finfo(np.float32 if dtype == np.float16 else dtype).eps / 2)


def rounding(dtype, exact):
    if dtype != np.float16:
        return 0
    return np.abs(exact) * float(np.finfo(dtype).eps / 2) + float(np.finfo(dtype).smallest_subnormal / 2)


def within(got, exact, error, dtype, name):
    """Has it the type and shape of the exact result, and is it that but for the error?"""
    error = error + rounding(np.dtype(dtype), exact) + float(np.finfo(np.dtype(dtype)).tiny)
    distance = np.abs(got.astype(REAL) - exact)
    good = got.dtype == dtype and got.shape == exact.shape and bool(np.all(distance <= error))
    ok(good, name, f"{got.dtype} {got.shape}, not {np.dtype(dtype)} {exact.shape}" if got.shape != exact.shape else
       f"{got.dtype}, {np.max(distance / error, initial=0)} of the bound")


def product(a, b, dtype):
    """a b, and the bound of its error: a rounding for each product and each sum."""
    a, b = a.astype(REAL), b.astype(REAL)
    return a @ b, a.shape[-1] * unit(dtype) * (np.abs(a) @ np.abs(b))


def exact_softmax(x, axis, dtype):
    x = x.astype(REAL)
    far = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    e = np.exp(far)
    p = e / e.sum(axis=axis, keepdims=True)
    u = unit(dtype)
    far = np.where(p > 0, far, 0)
    spread = np.max(2 * np.abs(far) + 4, axis=axis, keepdims=True, initial=0) * u
    return p, p * np.expm1(2 * spread + (x.shape[axis] + 4) * u)


def exact_attention(q, k, v, dtype, scale=None, keep=None, bias=None, softcap=None, sinks=None):
    """(output, weights, lse), and the bounds of their errors. keep and bias are what masks and ALiBi come to."""
    u, d, n = unit(dtype), q.shape[-1], k.shape[-2]
    q, k, v = (a.astype(REAL) for a in (q, k, v))
    scale = 1 / np.sqrt(REAL(d)) if scale is None else scale
    k = np.swapaxes(k, -1, -2)
    scores, size = scale * (q @ k), abs(scale) * (np.abs(q) @ np.abs(k))
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    if bias is not None:
        scores, size = scores + bias.astype(REAL), size + np.abs(bias.astype(REAL))
    seen = np.broadcast_to(True if keep is None else keep, scores.shape)
    scores = np.where(seen, scores, -np.inf)
    sink = -np.inf if sinks is None else sinks.astype(REAL)[:, np.newaxis, np.newaxis]
    top = np.maximum(scores.max(axis=-1, keepdims=True, initial=-np.inf), sink)
    top = np.where(np.isfinite(top), top, 0)
    far = np.where(seen, top - scores, 0)
    e = np.exp(scores - top)
    total = e.sum(axis=-1, keepdims=True) + np.where(seen.any(axis=-1, keepdims=True), np.exp(sink - top), 0)
    weights = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    error = np.max(np.where(seen, u * ((d + 10) * size + 2 * far + 4), 0), axis=-1, keepdims=True, initial=0)
    with np.errstate(divide="ignore"):
        lse = (top + np.log(total))[..., 0]
    return ((weights @ v, weights, lse),
            ((weights @ np.abs(v)) * np.expm1(2 * error + (2 * n + 6) * u),
             weights * np.expm1(2 * error + (n + 4) * u),
             np.where(np.isfinite(lse), error[..., 0] + (n + 6) * u * (1 + np.abs(lse)), 0)))


def attention_within(got, name, q, k, v, dtype, **options):
    exact, errors = exact_attention(q, k, v, dtype, **options)
    for what, g, x, e in zip(("output", "weights", "lse"), got, exact, errors):
        out_type = np.float32 if what == "lse" and dtype == np.float16 else dtype
        equal = np.isinf(x) & (g == x)  # the logarithm of no keys
        within(np.where(equal, 0, g).astype(g.dtype), np.where(equal, 0, x), e, out_type, f"{name}: {what}")


# ------------------------------------------------------------------ results --

def check_steps():
    for dtype in TYPES:
        name = np.dtype(dtype).name
        x, w_q, w_k, w_v = (normal(*s, dtype=dtype) for s in ((2, 6, 8), (8, 4), (8, 4), (8, 3)))
        for got, w, what in zip(compute_qkv(x, w_q, w_k, w_v), (w_q, w_k, w_v), "QKV"):
            within(got, *product(x, w, dtype), dtype, f"compute_qkv, {name}: {what}")
        q, k, v = normal(2, 1, 6, 8, dtype=dtype), normal(3, 7, 8, dtype=dtype), normal(3, 7, 5, dtype=dtype)
        exact, size = product(q, np.swapaxes(k, -1, -2), dtype)
        within(compute_self_attention_scores(q, k), exact / np.sqrt(REAL(8)), size / np.sqrt(8) * (8 + 3) / 8, dtype,
               f"compute_self_attention_scores, {name}")
        scores = 5 * normal(2, 3, 6, 7, dtype=dtype)
        for axis in (-1, 0, 1, -2):
            within(softmax(scores, axis), *exact_softmax(scores, axis, dtype), dtype, f"softmax, {name}, axis {axis}")
        weights = softmax_attention_weights(scores)
        ok(weights.tobytes() == softmax(scores, axis=-1).tobytes(), f"softmax_attention_weights, {name}: a softmax")
        within(compute_attention_output(weights, v), *product(weights, v, dtype), dtype,
               f"compute_attention_output, {name}")
    x = normal(5)
    within(softmax(x), *exact_softmax(x, -1, np.float64), np.float64, "softmax of a vector")


def check_attention():
    for dtype in TYPES:
        name = np.dtype(dtype).name
        q, k, v = normal(6, 8, dtype=dtype), normal(7, 8, dtype=dtype), normal(7, 5, dtype=dtype)
        attention_within([self_attention(q, k, v)], f"self_attention, {name}", q, k, v, dtype)
        q, k, v = normal(2, 4, 6, 8, dtype=dtype), normal(2, 4, 9, 8, dtype=dtype), normal(2, 4, 9, 5, dtype=dtype)
        both = dict(return_weights=True, return_lse=True)
        i, j = np.arange(6)[:, np.newaxis], np.arange(9)
        slopes, sinks = normal(4, dtype=dtype), normal(4, dtype=dtype)
        mask, bias = rng.random((2, 1, 6, 9)) < 0.6, normal(4, 6, 9, dtype=dtype)
        mask[0, 0, 2] = False
        lens = np.array([3, 9])
        bounds = np.stack([np.full((2, 6), 1), rng.integers(0, 9, (2, 6))], -1).astype(np.int32)
        below = -slopes.astype(REAL)[:, np.newaxis, np.newaxis] * np.abs(i - j)
        table, entry = normal(2, 4, 6, 4, dtype=dtype), np.broadcast_to(i + 3 - j + 2, (2, 4, 6, 9))
        near = np.where((entry >= 0) & (entry < 4), np.take_along_axis(table, np.clip(entry, 0, 3), -1), 0)
        for options, exact in (
                ({}, {}),
                (dict(attn_mask=mask), dict(keep=mask)),
                (dict(attn_mask=mask[..., :1]), dict(keep=mask[..., :1])),
                (dict(attn_mask=np.array(True)), {}),
                (dict(attn_mask=bias), dict(bias=bias)),
                (dict(attn_mask=bias[..., :1]), dict(bias=bias[..., :1])),
                (dict(attn_mask=bias.astype(np.float64)), dict(bias=bias)),
                (dict(attn_mask=mask[..., :5], mask_place="keys"),
                 dict(keep=np.pad(mask[..., :5], [(0, 0)] * 3 + [(0, 4)]))),
                (dict(attn_mask=bias[..., 2:], mask_place="tail"),
                 dict(bias=np.pad(bias[..., 2:], [(0, 0)] * 2 + [(2, 0)]))),
                (dict(is_causal=True), dict(keep=j <= i)),
                (dict(is_causal=True, lower_right=True), dict(keep=j <= i + 3)),
                (dict(is_causal=True, attn_mask=mask), dict(keep=mask & (j <= i))),
                (dict(window=(1, 2)), dict(keep=(j >= i - 1) & (j <= i + 2))),
                (dict(window=(-1, 0)), dict(keep=j <= i)),
                (dict(scale=0.7), dict(scale=REAL(0.7))),
                (dict(scale=0), dict(scale=0)),
                (dict(softcap=2), dict(softcap=2)),
                (dict(alibi=slopes), dict(bias=below)),
                (dict(alibi=[slopes, slopes]), dict(bias=below)),
                (dict(rel_bias=table[0, 0, 0], rel_clamp=True), dict(bias=table[0, 0, 0, np.clip(i - j, 0, 3)])),
                (dict(rel_bias=table, rel_first=-2, is_causal=True, lower_right=True), dict(keep=j <= i + 3, bias=near)),
                (dict(sinks=sinks), dict(sinks=sinks)),
                (dict(sinks=sinks, attn_mask=mask), dict(sinks=sinks, keep=mask)),
                (dict(kv_lens=lens), dict(keep=j < lens[:, np.newaxis, np.newaxis, np.newaxis])),
                (dict(kv_lens=4), dict(keep=j < 4)),
                (dict(q_bounds=[[0, 2, 4, 7]] * 6), dict(keep=(j < 2) | ((j >= 4) & (j < 7)))),
                (dict(q_bounds=bounds, is_causal=True), dict(keep=(j >= 1) & (j <= i) & (j < bounds[:, None, :, 1:]))),
                (dict(attn_mask=mask, is_causal=True, scale=0.5, window=(3, 0), softcap=5, alibi=slopes, sinks=sinks),
                 dict(keep=mask & (j <= i) & (j >= i - 3), scale=0.5, softcap=5, bias=below, sinks=sinks))):
            got = scaled_dot_product_attention(q, k, v, **options, **both)
            attention_within(got, f"scaled_dot_product_attention, {list(options)}, {name}", q, k, v, dtype, **exact)
            plain = scaled_dot_product_attention(q, k, v, **options)
            ok(plain.tobytes() == got[0].tobytes(), "... whose bits do not depend on what is returned beside it")
        bits = np.packbits(mask, axis=-1, bitorder="little")
        ok(scaled_dot_product_attention(q, k, v, bits, is_causal=True).tobytes() ==
           scaled_dot_product_attention(q, k, v, mask, is_causal=True).tobytes(), f"bits of a mask, {name}")
        _, lse, top, total = scaled_dot_product_attention(q, k, v, mask, return_lse=True, return_statistics=True)
        seen = mask.any(-1).repeat(4, 1)
        ok(np.allclose((top + np.log(np.where(seen, total, 1)))[seen], lse[seen], rtol=16 * unit(lse.dtype),
                       atol=1e-6) and (total[~seen] == 0).all() and np.isneginf(top[~seen]).all(), f"largest scores and sums, {name}")
        if dtype != np.float64:
            low = np.where(mask, 0, np.finfo(np.float64).min)
            ok(scaled_dot_product_attention(q, k, v, low).tobytes() ==
               scaled_dot_product_attention(q, k, v, mask).tobytes(), f"what is too low for {name} masks")
        k, v = k[:, :2], v[:, :2]
        got = scaled_dot_product_attention(q, k, v, enable_gqa=True, **both)
        attention_within(got, f"enable_gqa, {name}", q, k.repeat(2, 1), v.repeat(2, 1), dtype)


def check_layers():
    for dtype in TYPES[:2]:
        name = np.dtype(dtype).name
        for lead in ((), (3,), (2, 3)):
            x = normal(*lead, 5, 8, dtype=dtype)
            w_q, w_k, w_v, w_o = (normal(8, 12, dtype=dtype) for _ in range(4))
            w_o = normal(12, 7, dtype=dtype)
            # the layer is its parts, to the bit, and those are within their bounds
            q, k, v = compute_qkv(x, w_q, w_k, w_v)
            want = scaled_dot_product_attention(q, k, v, return_weights=True)
            got = self_attention_layer(x, w_q, w_k, w_v)
            ok(all(g.shape == w.shape and g.tobytes() == w.tobytes() for g, w in zip(got, want)),
               f"self_attention_layer, {name}, {lead}: the bits of its parts")
            mask = rng.random(lead + (3, 5, 5)) < 0.7
            heads = [np.swapaxes(a.reshape(lead + (5, 3, 4)), -3, -2) for a in (q, k, v)]
            want = scaled_dot_product_attention(*heads, mask, is_causal=True, return_weights=True)
            joined = np.swapaxes(want[0], -3, -2).reshape(lead + (5, 12))
            output = compute_attention_output(joined, w_o)
            got = multi_head_attention(x, w_q, w_k, w_v, w_o, 3, attn_mask=mask, is_causal=True, return_weights=True)
            ok(got[0].tobytes() == output.tobytes() and got[0].shape == output.shape and
               got[1].tobytes() == want[1].tobytes() and got[1].shape == want[1].shape,
               f"multi_head_attention, {name}, {lead}: the bits of its parts")
            out = np.empty_like(output)
            column = mask[..., :1]
            ok(multi_head_attention(x, w_q, w_k, w_v, w_o, 3, attn_mask=column).tobytes() ==
               multi_head_attention(x, w_q, w_k, w_v, w_o, 3, attn_mask=np.repeat(column, 5, -1)).tobytes(),
               "... a mask of one column is for all keys")
            plain = multi_head_attention(x, w_q, w_k, w_v, w_o, 3, attn_mask=mask, is_causal=True, out=out)
            ok(plain is out and out.tobytes() == output.tobytes(), "... into out")
            b = [normal(12, dtype=dtype) for _ in range(3)]
            q, k, v = (a + bias for a, bias in zip((q, k[..., :4], v[..., :4]), (b[0], b[1][:4], b[2][:4])))
            heads = [np.swapaxes(a.reshape(lead + (5, -1, 4)), -3, -2) for a in (q, k, v)]
            joined = np.swapaxes(scaled_dot_product_attention(*heads, enable_gqa=True), -3, -2).reshape(lead + (5, 12))
            got = multi_head_attention(x, w_q, w_k[:, :4], w_v[:, :4], None, 3, num_kv_heads=1, b_q=b[0], b_k=b[1][:4],
                                       b_v=b[2][:4])
            ok(got.tobytes() == joined.tobytes(), f"... with biases, one key head and no W_o, {name}, {lead}")
    x, w = normal(5, 8, dtype=np.float16), normal(8, 8, dtype=np.float16)
    got, weights = self_attention_layer(x, w, w, w)
    wide = self_attention_layer(*(a.astype(np.float32) for a in (x, w, w, w)))
    ok([a.tobytes() for a in (got, weights)] == [a.astype(np.float16).tobytes() for a in wide],
       "self_attention_layer, float16: float32, rounded once")


def bfloat16(x):
    """As uint16, to nearest even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def check_cache():
    q, k, v = (normal(2, h, 10, 8, dtype=np.float32) for h in (6, 2, 2))
    for dtype in ("float32", "float16", "bfloat16"):
        cache = Cache(10, 2, 8, batch=2, dtype=dtype)
        outputs = []
        for first, last in ((0, 3), (3, 4), (4, 10)):
            cache.append(k[:, :, first:last], v[:, :, first:last])
            outputs.append(cache.attend(q[:, :, first:last], softcap=3))
        if dtype == "bfloat16":
            rounded = [(bfloat16(a).astype(np.uint32) << 16).view(np.float32) for a in (k, v)]
        else:
            rounded = [a.astype(dtype).astype(np.float32) for a in (k, v)]
        want = scaled_dot_product_attention(q, *rounded, is_causal=True, softcap=3, enable_gqa=True)
        ok(np.concatenate(outputs, axis=2).tobytes() == want.tobytes() and len(cache) == 10,
           f"Cache, {dtype}: step by step, the bits of all at once")
        ok(cache.keys.shape == (2, 2, 10, 8) and np.shares_memory(cache.keys, cache._keys), "... keys are a view")
    raises(ValueError, ["key", "(2, 2, 1, 8)", "10 of 10"], cache.append, k[:, :, :1], v[:, :, :1])
    raises(ValueError, ["value", "(2, 2, 2, 8)"], cache.append, k[:, :, :1], v[:, :, :2])
    raises(ValueError, ["query", "(6, 10, 8)", "batch"], cache.attend, q[0])
    raises(ValueError, ["(2, 5, 10, 8)", "heads"], cache.attend, q[:, :5])
    raises(TypeError, ["is_causal"], cache.attend, q, is_causal=False)
    raises(TypeError, ["dtype", "float64"], Cache, 10, 2, 8, dtype=np.float64)
    raises(TypeError, ["dtype", "'nonsense'"], Cache, 10, 2, 8, dtype="nonsense")
    raises(MemoryError, ["keys", str(2**60)], Cache, 2**60, 2, 8)
    raises(ValueError, ["capacity", "0"], Cache, 0, 2, 8)
    one = Cache(4, 2, 8, head_dim_v=3)
    one.append(k[0, :, :2], v[0, :, :2, :3])
    ok(one.attend(q[0, :, :1]).shape == (6, 1, 3), "Cache of one batch: arrays without it")


def check_windows():
    for dtype in ("float32", "bfloat16", "int8", "float8_e5m2"):
        for sinks in (0, 3):
            ring = Cache(30, 2, 8, batch=2, head_dim_v=5, dtype=dtype, window=20, sinks=sinks)
            every = Cache(400, 2, 8, batch=2, head_dim_v=5, dtype=dtype)
            same = True
            while len(every) < 380:
                n = int(rng.integers(1, 8))
                k, v, q = (normal(2, h, n, d, dtype=np.float32) for h, d in ((2, 8), (2, 5), (4, 8)))
                ring.append(k, v)
                every.append(k, v)
                p, j = np.arange(len(every) - n, len(every))[:, np.newaxis], np.arange(len(every))
                results = (ring.attend(q, softcap=5, return_lse=True),
                           every.attend(q, (j < sinks) | (j > p - 20), softcap=5, return_lse=True))
                same = same and all(a.tobytes() == b.tobytes() for a, b in zip(*results))
            ok(same and len(ring) == len(every) and ring.keys.shape == (2, 2, 30, 8),
               f"Cache with a window and {sinks} sinks, {dtype}: the bits of a cache of all tokens")
    raises(ValueError, ["window", "from 1 to 10", "11"], Cache, 10, 2, 8, window=11)
    raises(ValueError, ["window", "from 1 to 8", "9"], Cache, 10, 2, 8, window=9, sinks=2)
    raises(ValueError, ["sinks", "from 0 to 9", "10"], Cache, 10, 2, 8, window=5, sinks=10)
    raises(ValueError, ["sinks", "window"], Cache, 10, 2, 8, sinks=1)
    for name, value in (("attn_mask", True), ("window", (1, 0)), ("return_weights", True)):
        raises(ValueError, [name, "has a window"], ring.attend, q, **{name: value})
    raises(ValueError, ["ring", "no longer holds"], ring.attend, normal(2, 4, 12, 8))
    raises(ValueError, ["attn_mask", "(4, 2)", "bits", "9"], scaled_dot_product_attention, normal(4, 8), normal(9, 8),
           normal(9, 8), np.zeros((4, 2), np.uint8), mask_place="tail")
    raises(ValueError, ["attn_mask", "(4, 1)", "bits", "9"], scaled_dot_product_attention, normal(4, 8), normal(9, 8),
           normal(9, 8), np.zeros((4, 1), np.uint8))


def check_rotary():
    x, positions = normal(3, 2, 5, 12), rng.integers(-1000, 1000, (3, 5))
    factors = llama3_factors(8)
    angle = (positions[:, np.newaxis, :, np.newaxis] * 500000.0 ** (-np.arange(4) / 4) / factors * 0.5).astype(REAL)
    for interleaved in (False, True):
        pair = (slice(0, 8, 2), slice(1, 8, 2)) if interleaved else (slice(0, 4), slice(4, 8))
        a, b = (x[..., half].astype(REAL) for half in pair)
        want = x.astype(REAL)
        want[..., pair[0]] = 3 * (a * np.cos(angle) - b * np.sin(angle))
        want[..., pair[1]] = 3 * (b * np.cos(angle) + a * np.sin(angle))
        options = dict(base=500000, rotary_dim=8, interleaved=interleaved, scale=0.5, magnitude=3, factors=factors)
        got = rotary(x, positions, **options)
        ok(np.abs(got - want).max() < 1e-11, f"rotary, interleaved {interleaved}: the formula")
        back = rotary(got, positions, inverse=True, **{**options, "magnitude": 1 / 3})
        ok(np.abs(back - x).max() < 1e-12, "... and back")
        ok(rotary(x[np.newaxis], positions, **options).tobytes() == got.tobytes(), "... of five dimensions")
    for dtype in TYPES:
        y = normal(2, 5, 8, dtype=dtype)
        want = rotary(y, np.arange(5))
        ok(rotary(y, out=y) is y and y.dtype == dtype and y.tobytes() == want.tobytes(), f"rotary in place, {dtype}")
    stretched, magnitude = yarn_factors(64, factor=4)
    ok(stretched[0] == 1 and stretched[-1] == 4 and abs(magnitude - (0.1 * np.log(4) + 1)) < 1e-15, "yarn_factors")
    raises(TypeError, ["positions", "integers"], rotary, x, np.ones(5))
    raises(ValueError, ["shapes", "positions", "(4,)"], rotary, x, np.arange(4))
    raises(ValueError, ["shapes", "factors", "(3,)"], rotary, x, factors=np.ones(3))
    raises(ValueError, ["parameter", "base 0.5"], rotary, x, base=0.5)
    raises(ValueError, ["rotary_dim 7"], rotary, x, rotary_dim=7)
    raises(ValueError, ["parameter", "low_freq_factor 9"], llama3_factors, 8, low_freq_factor=9)
    raises(ValueError, ["parameter", "beta_slow 99"], yarn_factors, 8, beta_slow=99)


# ----------------------------------------------------------------- eight bits --

F8 = {"float8_e4m3": (8, 7, 448, 0x7e), "float8_e5m2": (4, 15, 57344, 0x7b)}  # fractions, bias, largest, its code


def float8(codes, name):
    """The numbers that uint8 codes stand for."""
    fractions, bias, _, last = F8[name]
    magnitude = codes & 0x7f
    exponent, fraction = np.divmod(magnitude.astype(np.int32), fractions)
    value = np.where(exponent > 0, np.ldexp(1 + fraction / fractions, exponent - bias),
                     np.ldexp(fraction / fractions, 1 - bias))
    value = np.where(magnitude <= last, value, np.inf if name == "float8_e5m2" else np.nan)
    value = np.where(magnitude > 0x7c, np.nan, value) if name == "float8_e5m2" else value
    return np.where(codes & 0x80, -value, value).astype(np.float32)


def nearest8(x, name):
    """The codes of the nearest numbers, the even one of two that are equally near."""
    last = F8[name][3]
    table = float8(np.arange(last + 1, dtype=np.uint8), name).astype(np.float64)
    magnitude = np.minimum(np.abs(x), F8[name][2]).astype(np.float64)
    low = np.clip(np.searchsorted(table, magnitude, "right") - 1, 0, last - 1)
    below, above = magnitude - table[low], table[low + 1] - magnitude
    code = low + ((above < below) | ((above == below) & (low % 2 == 1)))
    return (code + 128 * np.signbit(x)).astype(np.uint8)


def coded(x, dtype, scale, zero=np.float32(0)):
    """Codes by scales and zero points that broadcast, in NumPy."""
    with np.errstate(over="ignore"):
        quotient = (x.astype(np.float32) / scale).astype(np.float32) + zero
    if dtype in F8:
        return nearest8(quotient, dtype)
    limits = (0, 255) if dtype == "uint8" else (-128, 127)
    return np.clip(np.rint(quotient), *limits).astype(dtype)


def meant(codes, dtype, scale, zero=np.float32(0)):
    numbers = float8(codes, dtype) if dtype in F8 else codes.astype(np.float32) - zero
    return (numbers * scale).astype(np.float32)


def columns(scale, n):
    """A scale for each column, of one for each group of them."""
    return np.repeat(scale, n // scale.shape[-1], axis=-1)


def check_quantize():
    x = normal(2, 3, 5, 12, dtype=np.float32)
    for dtype, top in (("int8", 127), ("float8_e4m3", 448), ("float8_e5m2", 57344)):
        for shape in (None, (1,), (3, 1, 1), (12,), (2, 3, 5, 4), (5, 1), (2, 1, 1, 6)):
            codes, scale = quantize(x, dtype, scale_shape=shape)
            full = (2, 3, 5, 1) if shape is None else (1,) * (4 - len(shape)) + shape
            groups = np.abs(x).reshape(2, 3, 5, full[-1], -1)
            axes = tuple(i for i in range(4) if full[i] == 1 and groups.shape[i] > 1) + (4,)
            want = (groups.max(axis=axes, keepdims=True).reshape(full) / np.float32(top)).astype(np.float32)
            ok(scale.dtype == np.float32 and scale.shape == (full if shape is None else shape) and
               scale.tobytes() == want.tobytes() and codes.shape == x.shape and
               codes.tobytes() == coded(x, dtype, columns(want, 12)).tobytes(),
               f"quantize, {dtype}, scales {shape}: NumPy's bits")
            back = dequantize(codes, scale, dtype=dtype)
            ok(back.dtype == np.float32 and back.tobytes() == meant(codes, dtype, columns(want, 12)).tobytes(),
               "... and back")
    codes, scale = quantize(x[..., ::-1], "int8")
    plain = quantize(x[..., ::-1].copy(), "int8")
    ok(codes.tobytes() == plain[0].tobytes() and scale.tobytes() == plain[1].tobytes(), "quantize: strides")
    half = x.astype(np.float16)
    ok(quantize(half)[0].tobytes() == quantize(half.astype(np.float32))[0].tobytes(), "quantize: float16 is float32")
    deep, one = x.reshape(2, 1, 3, 1, 5, 12), x[0, 0, 0]
    codes, scale = quantize(deep)
    ok(scale.shape == (2, 1, 3, 1, 5, 1) and
       dequantize(codes, scale).tobytes() == dequantize(codes.reshape(x.shape), scale.reshape(2, 3, 5, 1)).tobytes() and
       dequantize(codes, scale).shape == deep.shape, "quantize, dequantize: six dimensions")
    ok(quantize(one)[0].shape == (12,) and quantize(one)[1].shape == (1,), "quantize: one dimension")
    ok([a.shape for a in quantize(np.zeros((0, 4), np.float32))] == [(0, 4), (0, 1)], "quantize: nothing")
    scale, zero = np.float32([[0.02, 0.01, 0.03]]), np.float32([[120, 128, 100.5]])
    for dtype in ("uint8", "int8"):
        codes, given = quantize(x, dtype, scale=scale, zero=zero)
        ok(given.tobytes() == scale.tobytes() and
           codes.tobytes() == coded(x, dtype, columns(scale, 12), columns(zero, 12)).tobytes(),
           f"quantize, {dtype}: scales and zero points that are given")
        out = np.empty(x.shape, np.float32)
        back = dequantize(codes, scale, zero, out=out)
        ok(back is out and out.tobytes() == meant(codes, dtype, columns(scale, 12), columns(zero, 12)).tobytes(),
           "... and back, into out")
    every = np.arange(256, dtype=np.uint8)
    for name in F8:
        ok(np.array_equal(dequantize(every, dtype=name), float8(every, name), equal_nan=True), f"{name}: every code")
    ok(dequantize(every.view(np.int8)).tobytes() == every.view(np.int8).astype(np.float32).tobytes(),
       "int8: every code, without scales")
    raises(TypeError, ["dtype", "int16"], quantize, x, "int16")
    raises(TypeError, ["uint8", "scale"], quantize, x, "uint8")
    raises(TypeError, ["scale_shape"], quantize, x, scale=1.0, scale_shape=(1,))
    raises(ValueError, ["x float32 (2, 3, 5, 12)", "scale float32 (5,)"], quantize, x, scale_shape=(5,))
    raises(ValueError, ["scale float32 (4, 1)"], quantize, x, scale=np.ones((4, 1)))
    raises(ValueError, ["no zero points", "codes float8_e4m3 (2, 3, 5, 12)"], quantize, x, "float8_e4m3", zero=1)
    raises(TypeError, ["codes float32", "int8"], dequantize, x)
    raises(TypeError, ["codes int8", "float8_e4m3"], dequantize, every.view(np.int8), dtype="float8_e4m3")
    raises(TypeError, ["out", "float64"], dequantize, every, out=np.empty(256))


def check_codes():
    """Attention over keys and values of 8 bits has the bits of that over the numbers that they are."""
    q = normal(2, 6, 7, 12, dtype=np.float32)
    k, v = (rng.integers(0, 256, (2, 3, 9, n)).astype(np.uint8) for n in (12, 8))
    options = dict(enable_gqa=True, is_causal=True, lower_right=True, return_weights=True)

    def same(name, dtype, kept, *, query=q, key=k, value=v, kv_dtype=None, **scales):
        floats = []
        for a, side in ((key, "k"), (value, "v")):
            parts = [scales.get(f"{side}_{part}") for part in ("scale", "zero")]
            floats.append(dequantize(a, *parts, dtype=kv_dtype) if a.dtype.itemsize == 1 else a)
        want = scaled_dot_product_attention(query.astype(dtype), *floats, **options)
        got = scaled_dot_product_attention(query, key, value, **scales, kv_dtype=kv_dtype, **options)
        want = [a.astype(kept) for a in want]
        ok([a.dtype for a in got] == [a.dtype for a in want] and
           [a.tobytes() for a in got] == [a.tobytes() for a in want], f"keys and values of 8 bits: {name}")

    def random(*shape):
        return rng.uniform(0.005, 0.02, shape).astype(np.float32)

    f32 = np.float32
    for shape in ((1,), (9, 1), (3, 1, 1), (2, 3, 9, 1), (2, 3, 9, 4), (1, 1, 2)):
        same(f"uint8, scales {shape}", f32, f32, k_scale=random(*shape), v_scale=random(*shape),
             k_zero=100 + random(*shape), v_zero=random(*shape[:-1], 1))
        same(f"int8, scales {shape}", f32, f32, key=k.view(np.int8), value=v.view(np.int8), k_scale=random(*shape),
             v_scale=random(*shape))
    same("strides", f32, f32, key=np.ascontiguousarray(np.swapaxes(k, 2, 3)).swapaxes(2, 3), value=v[:, :, ::-1],
         k_scale=random(12), v_scale=random(9, 1)[::-1])
    fine = k % 0x7c, v % 0x7c  # without NaN
    for name in F8:
        same(name, f32, f32, key=fine[0], value=fine[1], kv_dtype=name)
        same(f"{name}, scales", f32, f32, key=fine[0], value=fine[1], kv_dtype=name, k_scale=random(9, 1), v_scale=[2])
    same("float64 queries are computed in float32", f32, f32, query=q.astype(np.float64), k_scale=0.01, v_scale=0.02)
    same("values of float32", f32, f32, value=normal(2, 3, 9, 8, dtype=f32), k_scale=random(9, 1))
    half = q.astype(np.float16)
    got = scaled_dot_product_attention(half, k, v, k_scale=random(1), v_scale=random(1), **options)
    ok([a.dtype for a in got] == [np.float16] * 2, "keys and values of 8 bits: float16 queries, float16 results")
    lead, scale = (2, 1, 2), random(2, 1, 2, 3, 9, 1)
    wide = np.broadcast_to(q, (2, 1) + q.shape)
    got = scaled_dot_product_attention(wide, k.view(np.int8), v.view(np.int8), enable_gqa=True, k_scale=scale,
                                       v_scale=0.5)
    floats = [np.broadcast_to(a, (2, 1) + a.shape).view(np.int8).astype(f32) for a in (k, v)]
    want = scaled_dot_product_attention(wide, floats[0] * scale, floats[1] * f32(0.5), enable_gqa=True)
    ok(got.shape == lead + (6, 7, 8) and got.tobytes() == want.tobytes(), "keys and values of 8 bits: five dimensions")
    want = scaled_dot_product_attention(q, k.astype(f32), v.astype(f32), enable_gqa=True)
    ok(scaled_dot_product_attention(q, k, v, enable_gqa=True).tobytes() == want.tobytes(),
       "without scales, integers are numbers like others")
    f = scaled_dot_product_attention
    raises(TypeError, ["key float32 (2, 6, 7, 12)", "k_scale (1,)"], f, q, q, q, k_scale=1.0)
    raises(TypeError, ["value float32", "v_scale (2,)", "v_zero"], f, q, q, q, v_scale=[1, 1], v_zero=1)
    raises(ValueError, ["kv_dtype", "float8_e4m3", "fp8"], f, q, k, v, kv_dtype="fp8")
    raises(ValueError, ["k_scale", "k_scale int64 (5,)", "key uint8"], f, q, k, v, k_scale=[1] * 5, enable_gqa=True)
    raises(ValueError, ["v_zero", "no zero points", "value uint8"], f, q, k, v, v_zero=1, kv_dtype="float8_e5m2",
           enable_gqa=True)
    raises(ValueError, ["key uint8 (12,)", "dimensions"], f, q, k[0, 0, 0], v, k_scale=1)

    for dtype in ("int8", *F8):
        k32, v32 = (normal(2, 2, 10, 8, dtype=f32) for _ in range(2))
        q32 = normal(2, 6, 10, 8, dtype=f32)
        cache, outputs = Cache(12, 2, 8, batch=2, dtype=dtype), []
        for first, last in ((0, 3), (3, 4), (4, 10)):
            cache.append(k32[:, :, first:last], v32[:, :, first:last])
            outputs.append(cache.attend(q32[:, :, first:last], window=(5, 0)))
        parts = [quantize(a, dtype) for a in (k32, v32)]
        floats = [dequantize(*part, dtype=dtype) for part in parts]
        want = f(q32, *floats, is_causal=True, enable_gqa=True, window=(5, 0))
        ok(np.concatenate(outputs, axis=2).tobytes() == want.tobytes(), f"Cache, {dtype}: the bits of all at once")
        got = cache.keys, cache.k_scale, cache.values, cache.v_scale
        ok(all(a.tobytes() == b.tobytes() and a.dtype == b.dtype and a.shape == b.shape
               for a, b in zip(got, (*parts[0], *parts[1]))), "... its codes and scales are those of quantize")
    ok(Cache(4, 2, 8).k_scale is None and Cache(4, 2, 8, dtype="float16").v_scale is None, "Cache: no scales of floats")
    one = Cache(4, 2, 8, dtype=np.int8)
    one.append(k32[0, :, :2], v32[0, :, :2])
    want = f(q32[0, :, :1], *(dequantize(*quantize(a[0, :, :2])) for a in (k32, v32)), enable_gqa=True)
    ok(one.attend(q32[0, :, :1]).tobytes() == want.tobytes(), "Cache of one batch, int8: arrays without it")
    raises(TypeError, ["k_scale"], one.attend, q32[0, :, :1], k_scale=1)
    raises(TypeError, ["dtype", "uint8"], Cache, 4, 2, 8, dtype="uint8")


# ---------------------------------------------------- types, shapes, strides --

def check_types():
    x = (3 * normal(5, 4)).astype(np.int64)
    for code in ("?", "i1", "u1", "i4", "u8", "f2", "f4", "f8", ">f2", ">f4", ">f8", ">i4"):
        a = x.astype(code)
        same = a.astype(np.float64) if a.dtype.kind != "f" else a.astype(code.strip(">"))
        got = self_attention(a, a, a)
        want = self_attention(same, same, same)
        ok(got.dtype == same.dtype and got.dtype.isnative and got.tobytes() == want.tobytes(),
           f"{code} becomes {same.dtype}", got.dtype)
    ok(self_attention(x.tolist(), x.tolist(), x.tolist()).tobytes() == self_attention(x, x, x).tobytes(), "lists")
    for codes in (("f4", "f8"), ("f2", "f4"), ("f4", "i1"), ("f4", "i4"), ("f2", "f2")):
        arrays = [x.astype(code) for code in (*codes, codes[0])]
        want = np.result_type(*arrays)
        ok(self_attention(*arrays).dtype == want, f"{' and '.join(codes)}: {want}, as NumPy has it")


def check_shapes():
    for shapes in (((6, 8), (7, 8), (7, 5)), ((3, 6, 8), (3, 7, 8), (3, 7, 5)), ((2, 3, 6, 8), (7, 8), (3, 7, 5)),
                   ((6, 8), (2, 3, 7, 8), (7, 5)), ((4, 1, 3, 6, 8), (2, 1, 7, 8), (7, 5)),
                   ((3, 6, 8), (1, 7, 8), (7, 5)),
                   ((2, 1, 6, 8), (3, 7, 8), (2, 3, 7, 5)), ((1, 1), (1, 1), (1, 1))):
        q, k, v = (normal(*shape) for shape in shapes)
        attention_within([self_attention(q, k, v)], f"shapes {shapes}", q, k, v, np.float64)
    one, k, v = np.broadcast_to(2.0, (1, 1)), normal(3, 4, 1), normal(3, 4, 2)  # strides of 0 that repeat nothing
    attention_within([self_attention(one, k, v)], "one number for all", one, k, v, np.float64)
    q, k, v = normal(2, 2, 3, 6, 8), normal(3, 7, 8), normal(2, 1, 3, 7, 5)
    keep, slopes, lens = rng.random((2, 1, 3, 6, 7)) < 0.7, normal(2, 1, 3), np.array([[1, 2], [3, 7]])
    i, j = np.arange(6)[:, np.newaxis], np.arange(7)
    out = np.full((2, 2, 3, 6, 5), np.nan)
    table = normal(2, 1, 3, 1, 2)
    got = scaled_dot_product_attention(q, k, v, keep, alibi=slopes, kv_lens=lens, rel_bias=table, rel_first=-1,
                                       rel_clamp=True, return_weights=True, return_lse=True, out=out)
    attention_within(got, "five dimensions, with options", q, k, v, np.float64,
                     keep=keep & (j < lens[..., np.newaxis, np.newaxis, np.newaxis]),
                     bias=table[..., 0, np.clip(i - j + 1, 0, 1)] -
                     slopes[..., np.newaxis, np.newaxis] * np.abs(i - j))
    ok(got[0] is out, "... into out")
    for shape in ((0, 4), (5, 0), (0, 0), (0, 3, 4), (2, 0, 5, 4), (0, 2, 3, 5, 4)):
        e = np.zeros(shape)
        ok(self_attention(e, e, e).shape == softmax(e).shape == shape and
           compute_self_attention_scores(e, e).shape == shape[:-1] + shape[-2:-1], f"empty: {shape}")
    ok(not self_attention(normal(5, 4), np.zeros((0, 4)), np.zeros((0, 3))).any(), "no keys: zeros")


def check_strides():
    big = normal(64, 3, 4, 2000)  # (tokens, of q, k and v, heads, dimension): 12 MB
    q, k, v = (big[:, part].swapaxes(0, 1) for part in range(3))
    want = self_attention(*(a.copy() for a in (q, k, v)))
    tracemalloc.start()
    got = self_attention(q, k, v)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    ok(got.tobytes() == want.tobytes(), "packed q, k and v: the bits of copies")
    ok(peak < got.nbytes + 10000, "... and nothing is allocated but the output", f"{peak} bytes of {got.nbytes}")
    x = normal(8, 10)
    unaligned = np.zeros(8 * 10 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(8, 10)
    unaligned[...] = x
    packed = np.zeros((8, 10), np.dtype([("a", np.uint8), ("x", np.float64)]))  # 9 bytes from one to the next
    packed["x"] = x
    for name, a in (("reversed", x[::-1, ::-1]), ("in Fortran's order", np.asfortranarray(x)),
                    ("every second", x[::2, ::3]), ("transposed", x.T), ("repeated", np.broadcast_to(x[0], (8, 10))),
                    ("not aligned", unaligned), ("one number", np.broadcast_to(x[0, 0], (8, 10))),
                    ("read-only", np.frombuffer(x.tobytes()).reshape(8, 10)), ("in a structure", packed["x"])):
        c = np.array(a, order="C")
        ok(self_attention(a, a, a).tobytes() == self_attention(c, c, c).tobytes() and
           softmax(a, 0).tobytes() == softmax(c, 0).tobytes() and
           compute_self_attention_scores(a, a).tobytes() == compute_self_attention_scores(c, c).tobytes(),
           f"{name}: the same bits")


def check_out():
    q, w = normal(6, 8), normal(8, 8)
    for function, arguments in (
            (softmax, (q,)), (softmax_attention_weights, (q,)), (self_attention, (q, q, q)),
            (scaled_dot_product_attention, (q, q, q)), (compute_attention_output, (q, w)),
            (compute_self_attention_scores, (q, w)), (multi_head_attention, (q, w, w, w, w, 2))):
        for dtype in (np.float64, np.float16):
            given = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in arguments]
            room = np.full((12, 16), 7, dtype)
            out = room[::2, ::-2]
            want = function(*given)
            ok(function(*given, out=out) is out and np.array(out).tobytes() == want.tobytes() and
               np.count_nonzero(room == 7) == 12 * 16 - 48,
               f"{function.__name__} into a view, and nowhere else, {np.dtype(dtype)}")
        before = room.copy()
        raises(ValueError, ["out", "(6, 9)", "(6, 8)"], function, *arguments, out=np.empty((6, 9)))
        raises(TypeError, ["out", "float32", "float64"], function, *arguments, out=np.empty((6, 8), np.float32))
        raises(TypeError, ["out", "list"], function, *arguments, out=[0.0])
        raises(TypeError, ["out", "MaskedArray"], function, *arguments, out=np.ma.zeros((6, 8)))
        raises(ValueError, ["out", "read-only"], function, *arguments, out=np.broadcast_to(0.0, (6, 8)))
        one = np.zeros(48)
        raises(ValueError, ["out"], function, *arguments, out=np.lib.stride_tricks.as_strided(one, (6, 8), (0, 0)))
        for dtype in (np.float64, np.float16):  # where they are computed in a copy, and where not
            given = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in arguments]
            near = np.lib.stride_tricks.as_strided(one.astype(dtype), (6, 8), (np.dtype(dtype).itemsize,) * 2)
            raises(ValueError, ["out", "(6, 8)", "overlap"], function, *given, out=near)
        ok(not one.any() and before.tobytes() == room.tobytes(), "... and nothing is written")
    raises(ValueError, ["out", "overlap"], self_attention, q, q, q, out=q)
    x = q.copy()
    ok(softmax(x, out=x) is x and x.tobytes() == softmax(q).tobytes(), "softmax in place")


# ------------------------------------------------------------------- errors --

def check_errors():
    x, w = normal(5, 4), normal(4, 4)
    sdpa = scaled_dot_product_attention
    for position, name in enumerate("QKV"):
        for bad, kind, words in (
                (x.astype(object), TypeError, ["object", "(5, 4)"]), (x.astype(complex), TypeError, ["complex128"]),
                (np.ma.array(x), TypeError, ["masked", "(5, 4)"]), (np.array(1.0), ValueError, ["()"]),
                (x[0], ValueError, ["(4,)"]), ("text", TypeError, ["<U4"]), (None, TypeError, ["object"]),
                ([[1, 2], [3]], ValueError, ["inhomogeneous"]), (x.astype("M8[s]"), TypeError, ["datetime64"]),
                (np.zeros((5, 4), [("a", "f4")]), TypeError, ["('a', '<f4')"])):
            arguments = [x, x, x]
            arguments[position] = bad
            raises(kind, [name, *words], self_attention, *arguments)
    if np.dtype(np.longdouble).itemsize > 8:
        raises(TypeError, ["Q", str(np.dtype(np.longdouble))], self_attention, x.astype(np.longdouble), x, x)
    raises(ValueError, ["K", "(5, 3)"], self_attention, x, x[:, :3], x)
    raises(ValueError, ["V", "(3, 4)"], self_attention, x, x, x[:3])
    raises(ValueError, ["Q and K", "(2,)", "(3,)"], self_attention, normal(2, 5, 4), normal(3, 5, 4), x)
    raises(ValueError, ["query and key", "(6,)", "(2,)"], sdpa, normal(6, 5, 4), normal(2, 5, 4), normal(2, 5, 4))
    raises(ValueError, ["(4, 5, 4)", "heads"], sdpa, normal(6, 5, 4), normal(4, 5, 4), normal(4, 5, 4), enable_gqa=True)
    for options, kind, words in (
            (dict(dropout_p=0.1), ValueError, ["0.1"]), (dict(dropout_p="a"), TypeError, []),
            (dict(attn_mask=np.ones((5, 5), int)), TypeError, ["int64", "bool"]),
            (dict(attn_mask=np.ones((5, 4), bool)), ValueError, ["(5, 4)"]),
            (dict(mask_place="first"), ValueError, ["'first'", "tail"]),
            (dict(attn_mask=np.ma.ones((5, 5))), TypeError, ["masked"]),
            (dict(window=3), TypeError, ["3"]), (dict(window=(-2, 3)), ValueError, ["-2"]),
            (dict(window=(1, 2**63)), ValueError, [str(2**63)]), (dict(window=(0.5, 1)), TypeError, ["0.5"]),
            (dict(scale=np.nan), ValueError, ["scale nan"]), (dict(scale="a"), TypeError, ["'a'"]),
            (dict(scale="1"), TypeError, ["'1'"]), (dict(scale=x), TypeError, ["float64", "(5, 4)"]),
            (dict(scale=10**400), ValueError, ["100"]), (dict(scale=np.ma.masked), TypeError, ["an array"]),
            (dict(softcap=-1), ValueError, ["softcap -1"]), (dict(softcap=10**5000), ValueError, ["too large"]),
            (dict(is_causal=x), TypeError, ["True or False", "(5, 4)"]), (dict(return_lse="no"), TypeError, ["'no'"]),
            (dict(kv_lens=6), ValueError, ["length"]),
            (dict(kv_lens=-1), ValueError, ["length"]), (dict(kv_lens=[1, 2]), ValueError, ["(2,)"]),
            (dict(kv_lens=2.0), TypeError, ["float64"]), (dict(alibi=[1, 2]), ValueError, ["(2,)"]),
            (dict(q_bounds=[[0, 1, 2]] * 5), ValueError, ["(5, 3)"]), (dict(q_bounds=[[0.5, 1]]), TypeError, ["float64"]),
            (dict(q_bounds=[[3, 5, 1, 2]] * 5), ValueError, ["length"]),
            (dict(q_bounds=np.zeros((2, 5, 2), int)), ValueError, ["(2, 5, 2)"]),
            (dict(rel_bias=np.zeros((3, 4))), ValueError, ["rel_bias", "(3, 4)"]),
            (dict(rel_bias=[]), ValueError, ["rel_bias", "(0,)"]), (dict(rel_first=1.5), TypeError, ["1.5"]),
            (dict(rel_first=2**61 + 1), ValueError, ["rel_first"]), (dict(rel_clamp="no"), TypeError, ["'no'"]),
            (dict(alibi=["a"]), TypeError, ["<U1"]), (dict(sinks=[1, 2]), ValueError, ["(2,)"])):
        raises(kind, [*options, *words], sdpa, x, x, x, **options)
    raises(ValueError, ["attn_mask", "(5, 6)"], sdpa, x, x, x, np.ones((5, 6), bool), mask_place="tail")
    raises(ValueError, ["attn_mask", "(3, 2, 5, 5)", "(2, 2)"], sdpa, normal(2, 2, 2, 5, 4), x, x,
           np.ones((3, 2, 5, 5), bool))
    raises(ValueError, ["W_q", "(5, 4)"], compute_qkv, x, x, w, w)
    raises(ValueError, ["W_v", "(5, 4)"], compute_qkv, x, w, w, x)
    raises(ValueError, ["K", "(5, 2)"], compute_self_attention_scores, x, x[:, :2])
    raises(ValueError, ["V", "(5, 4)"], compute_attention_output, x, x)
    raises(ValueError, ["K: ", "Q int64 (1, 2), K float32 (1, 3), V bool (1, 1)"],
           self_attention, [[1, 2]], np.zeros((1, 3), np.float32), np.ones((1, 1), bool))  # as they were given
    raises(ValueError, ["X float16 (1, 2, 5, 4)", "W_k float64 (5, 4)", "num_heads 2"], multi_head_attention,
           np.zeros((1, 2, 5, 4), np.float16), w, x, w, w, 2)
    raises(ValueError, ["axis", "2"], softmax, x, 2)
    raises(TypeError, ["axis", "None"], softmax, x, None)
    raises(ValueError, ["x", "()"], softmax, np.array(1.0))
    raises(ValueError, ["x", "dimensions"], softmax, np.zeros((1,) * 9))
    raises(ValueError, ["scores", "dimensions"], softmax_attention_weights, np.zeros((1,) * 9))
    raises(ValueError, ["W_q", "num_heads, 3"], multi_head_attention, x, w, w, w, w, 3)
    raises(ValueError, ["num_heads", "0"], multi_head_attention, x, w, w, w, w, 0)
    raises(TypeError, ["num_heads", "2.5"], multi_head_attention, x, w, w, w, w, 2.5)
    raises(ValueError, ["W_o", "(3, 4)"], multi_head_attention, x, w, w, w, w[:3], 2)
    raises(ValueError, ["W_v", "(4,)"], multi_head_attention, x, w, w, w[0], w, 2)
    raises(ValueError, ["b_q", "(3,)"], multi_head_attention, x, w, w, w, w, 2, b_q=w[0, :3])
    raises(ValueError, ["b_o", "(4,)"], multi_head_attention, x, w, w, w, None, 2, b_o=w[0])
    raises(ValueError, ["num_kv_heads"], multi_head_attention, x, w, w, w, None, 4, num_kv_heads=3)
    raises(ValueError, ["attn_mask", "(4, 4)"], multi_head_attention, x, w, w, w, w, 2, attn_mask=w)
    raises(TypeError, ["X", "object"], self_attention_layer, x.astype(object), w, w, w)
    if sys.maxsize > 2**32:  # more scratch memory than there are addresses
        endless = np.broadcast_to(x[:, :1], (5, 2**46))
        raises(MemoryError, ["no memory"], self_attention, endless, endless, x)
        endless = np.zeros((2**40, 0))
        raises(MemoryError, ["result", str(2**40)], compute_self_attention_scores, endless, endless)


# ------------------------------------------------------------------ threads --

def check_threads():
    problems = [[normal(4, n, 32, dtype=dtype) for _ in range(3)] for n in (33, 300, 700) for dtype in TYPES[:2]] * 4
    want = [self_attention(*problem).tobytes() for problem in problems]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda problem: self_attention(*problem).tobytes(), problems))
    ok(got == want, "eight Python threads: the bits of one")
    for threads in (2, 3):
        attention.num_threads = threads
        got = [self_attention(*problem).tobytes() for problem in problems]
        ok(got == want, f"num_threads = {threads}: the bits of one")
    for bad, kind in ((0, ValueError), (-1, ValueError), (2**40, ValueError), ("2", TypeError), (1.0, TypeError)):
        attention.num_threads = bad
        raises(kind, ["attention.num_threads", str(bad)], softmax, [1.0])
    attention.num_threads = 1

    # No thread is made to give the interpreter away; so others count only while a call does without it.
    counted, most, stop = 0, 0, False
    tasks = "/proc/self/task"

    def count():
        nonlocal counted, most
        while not stop:
            counted += 1
            most = max(most, len(os.listdir(tasks)) if os.path.isdir(tasks) else 0)
            time.sleep(0.0001)

    x = normal(4, 1500, 64)
    interval = sys.getswitchinterval()
    thread = threading.Thread(target=count)
    thread.start()
    sys.setswitchinterval(1000)
    before = counted
    self_attention(x, x, x)
    during, alone = counted - before, most
    sys.setswitchinterval(interval)
    attention.num_threads = 3
    for _ in range(5):
        self_attention(x, x, x)
    attention.num_threads = 1
    stop = True
    thread.join()
    ok(during > 0, "other Python threads run during a call")
    if most:
        ok(most == alone + 2, "num_threads = 3: two more threads", most, alone)


# -------------------------------------------------------- extremes, examples --

def numbers_of(text):
    return [float(n) for n in re.findall(r"(?<![\w.])-?\d+\.\d*|nan|inf", text)]


def run_example(path, *arguments):
    """What it prints, and its names."""
    printed, argv = io.StringIO(), sys.argv
    sys.argv = [path, *arguments]
    try:
        with contextlib.redirect_stdout(printed):
            names = runpy.run_path(path)
    finally:
        sys.argv = argv
    return printed.getvalue(), names


def check_extremes():
    x = normal(6, 8) * 1e4
    for dtype in TYPES[:2]:  # rows of 6 weights: 6 + 4 roundings of a weight, 6 of NumPy's sum, half an eps each
        a = x.astype(dtype)
        scores = compute_self_attention_scores(a, a)
        weights = softmax_attention_weights(scores)
        ok(abs(weights.sum(axis=-1) - 1).max() <= 8 * np.finfo(dtype).eps and
           np.isfinite(self_attention(a, a, a)).all(), f"{np.dtype(dtype)}: scores of 1e8 give weights that sum to 1")
    a = np.full((3, 4), np.finfo(np.float32).max, np.float32)
    ok(self_attention(a, -a, a).tolist() == a.tolist(), "the largest numbers: a mean of them is finite")
    output, lse = scaled_dot_product_attention(x, x, x, np.zeros((6, 6), bool), return_lse=True)
    ok(not output.any() and (lse == -np.inf).all(), "all keys masked: zeros, and a logarithm of -inf")


def check_examples(folder):
    paths = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".py"))
    ok(len(paths) == 5, "examples/python has five programs", paths)
    for path in paths:
        name = os.path.basename(path)
        ours, of_ours = run_example(path)
        numpys, of_numpy = run_example(path, "--numpy")
        # Printed digits: where the results differ by far less than the last one, they may be rounded to neighbours.
        pairs = list(zip(numbers_of(ours), numbers_of(numpys)))
        last = 1.01e-3 if name == "sentence.py" else 1.01e-4
        ok(len(pairs) > 10 and re.sub(r"-?\d+\.\d*", "", ours).split() == re.sub(r"-?\d+\.\d*", "", numpys).split() and
           all(abs(a - b) <= last for a, b in pairs), f"{name}: prints what NumPy gives", ours, numpys)
    scores = np.array([[1e4, 0.0], [-1e4, 1e4]])
    for file, name in (("sentence.py", "softmax"), ("steps.py", "softmax_attention_weights")):
        path = os.path.join(folder, file)
        with np.errstate(all="ignore"):
            numpys = run_example(path, "--numpy")[1][name](scores)
        ours = run_example(path)[1][name](scores)
        ok(np.isnan(numpys).any() and ours.tolist() == [[1, 0], [0, 1]],
           f"{file}: {name} of scores of 1e4 is right, where exp(x) / sum(exp(x)) is NaN")


def check_pictures():
    x = np.array([[0.25, 0.75, 0], [0.2, 0.3, 0.5]])
    picture = show(x, ["<b>", "&"], keys="x y\0 z\ud800", title="a < b")
    cells = {}  # colours by tip: "query \u2192 key: weight"
    for rect in xml.etree.ElementTree.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}rect"):
        if len(rect):
            cells[rect[0].text] = rect.get("fill")
    ok(list(cells) == ["<b> \u2192 x: 0.25", "<b> \u2192 y\ufffd: 0.75", "<b> \u2192 z?: 0",
                       "& \u2192 x: 0.2", "& \u2192 y\ufffd: 0.3", "& \u2192 z?: 0.5"],
       "show: an SVG is well-formed, with each weight in its place", list(cells))
    darkest = min(cells, key=lambda tip: sum(bytes.fromhex(cells[tip][1:])))
    ok(darkest.endswith(": 0.75"), "... of which the largest is darkest", darkest)
    ok("<title>a &lt; b</title>" in picture.svg and picture._repr_svg_() == picture.svg,
       "... its title; what a notebook displays")
    for encoding, cells in (("utf-8", ["\u2591" * 4, "\u2588" * 4]), ("ascii", ["....", "####"])):
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding)):
            text = str(picture)
        ok(text.splitlines()[1].split() == ["<b>", *cells], f"... as text, where the output is {encoding}", text)
    ok(repr(picture) == str(picture), "... which a console shows")

    for name, same in (("a list", x.tolist()), ("a head", x[np.newaxis]), ("strides", np.repeat(x, 2, 1)[:, ::2]),
                       ("a batch of 1", x[np.newaxis, np.newaxis])):
        ok(show(same).svg == show(x).svg, f"show: {name}")
    for dtype in TYPES[1:]:
        rounded = x.astype(dtype)
        ok(show(rounded).svg == show(rounded.astype(np.float64)).svg, f"show: {np.dtype(dtype)}")
    ok(show(np.broadcast_to(0.5, (2, 2))).svg == show([[0.5, 0.5], [0.5, 0.5]]).svg, "show: strides of 0")
    looks = ({}, {"dark": True}, {"view": "lines"}, {"title": "t"}, {"keys": "x y z"})
    ok(len({show(x, **look).svg for look in looks}) == len(looks), "show: dark, view, title and keys make a difference")
    changed = x.copy()
    picture = show(changed)
    text = str(picture)
    changed[:] = 0
    ok(str(picture) == text, "show: a picture stays when the array changes")

    with tempfile.TemporaryDirectory() as folder:
        path, link = os.path.join(folder, "w.svg"), os.path.join(folder, "link.svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write("old")
        os.chmod(path, 0o640)
        os.symlink("w.svg", link)
        picture.save(link)
        with open(path, encoding="utf-8") as file:
            ok(file.read() == picture.svg and os.path.islink(link) and os.stat(path).st_mode & 0o777 == 0o640 and
               len(os.listdir(folder)) == 2, "save: a file is replaced, with its permissions, where a link leads to")
        try:
            picture.save(os.path.join(folder, "w.PNG"))
        except ValueError as error:
            ok("needs libpng" in str(error), f"save: PNG # SKIP {error}")
        else:
            with open(os.path.join(folder, "w.PNG"), "rb") as file:
                ok(file.read(8) == b"\x89PNG\r\n\x1a\n", "save: PNG")
        os.mkdir(os.path.join(folder, "folder.svg"))
        before = sorted(os.listdir(folder))
        raises(ValueError, ["path", "w.jpg", ".svg"], picture.save, os.path.join(folder, "w.jpg"))
        raises(ValueError, ["path", "null"], picture.save, os.path.join(folder, "w\0.svg"))
        raises(TypeError, ["path", "b'w.svg'"], picture.save, b"w.svg")
        raises(FileNotFoundError, ["none/w.svg'"], picture.save, os.path.join(folder, "none/w.svg"))
        raises(IsADirectoryError, ["folder.svg'"], picture.save, os.path.join(folder, "folder.svg"))
        ok(sorted(os.listdir(folder)) == before, "save: an error leaves no file behind", os.listdir(folder))

    raises(ValueError, ["tokens", "3 words", "2 queries", "(2, 3)"], show, x, "a b c")
    raises(ValueError, ["tokens", "2 words", "3 keys", "keys has"], show, x, "a b")
    raises(ValueError, ["keys", "1 words", "3 keys"], show, x, "a b", keys=["x"])
    raises(TypeError, ["tokens[1]", "7"], show, x, ["a", 7])
    raises(TypeError, ["keys", "int"], show, x, keys=3)
    raises(TypeError, ["title", "5"], show, x, title=5)
    raises(ValueError, ["view", "'lines'", "'pie'"], show, x, view="pie")
    raises(ValueError, ["view", "(2, 3)"], show, x, view=x)
    raises(TypeError, ["dark", "(2, 3)"], show, x, dark=x)
    raises(ValueError, ["weights", "(2, 1, 2, 3)", "2 batches", "weights[0]"], show, np.ones((2, 1, 2, 3)))
    raises(ValueError, ["weights", "too many dimensions"], show, np.ones((1, 1, 1, 2, 3)))
    raises(ValueError, ["weights", "too few dimensions"], show, x[0])
    raises(ValueError, ["weights", "64 heads"], show, np.ones((65, 1, 1)))
    raises(ValueError, ["weights", "(0, 3)", "no weights"], show, x[:0])
    raises(TypeError, ["weights", "complex128"], show, x.astype(complex))

    if os.path.exists("/proc/self/statm"):
        def pages():
            with open("/proc/self/statm", encoding="ascii") as file:
                return int(file.read().split()[1])
        weights = normal(64, 64)
        size = len(show(weights).svg)
        before = pages()
        for _ in range(40):
            show(weights)
        grown = (pages() - before) * os.sysconf("SC_PAGE_SIZE")
        ok(grown < 20 * size, "show: memory is given back", f"{grown} bytes after 40 pictures of {size}")


def check_docstrings():
    failed, tried = doctest.testmod(attention)
    ok(failed == 0 and tried > 0, f"{tried} examples in docstrings")
    missing = [name for name in attention.__all__ if name != "num_threads" and not getattr(attention, name).__doc__]
    ok(not missing, "all that is public has a docstring", missing)


for check in (check_steps, check_attention, check_layers, check_cache, check_windows, check_rotary, check_quantize,
              check_codes, check_types, check_shapes, check_strides, check_out, check_errors, check_threads,
              check_extremes, check_pictures, check_docstrings):
    check()
check_examples(sys.argv[1])
print(f"1..{number}")
