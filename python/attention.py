# SPDX-License-Identifier: MIT-0
"""Self-attention for NumPy arrays: attention.h under the names that notebooks use.

>>> import numpy as np
>>> from attention import self_attention
>>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
>>> self_attention(x, x, np.array([[1.0, 2.0], [3.0, 4.0]])).round(7)
array([[1.6604769, 2.6604769],
       [2.3395231, 3.3395231]])

Arrays are float64, float32 or float16 and keep their type: what is computed of several has the type that NumPy
gives to their product. Integers, booleans and lists become float64. float16 is computed in float32 and rounded once.
Inputs are read where they lie, whatever their strides, and copied only to change their type or byte order, where
their elements are not aligned, or to make one of several leading dimensions, if strides do not allow that. An `out` has
the shape and the type of the result, and no element in common with an input that is read where it lies, but softmax
works in place. Masked arrays are refused: use .filled(), or the attn_mask of scaled_dot_product_attention.
Keys and values may have 8 bits: see quantize, Cache and the k_scale of scaled_dot_product_attention.

What is wrong with an argument is a ValueError or a TypeError that names it and shows shapes and types.

Other Python threads run during a call. `attention.num_threads = 4` has each call start so many threads of its own,
which pays from a millisecond of work on. No number of threads changes a bit of a result.
"""
from __future__ import annotations

import ctypes
import math
import operator
import os
import reprlib
import shutil
import struct
import sys
import threading
from typing import Any, Mapping, Optional, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "Cache", "compute_attention_output", "compute_qkv", "compute_self_attention_scores", "dequantize",
    "llama3_factors", "multi_head_attention", "num_threads", "Picture", "quantize", "rotary",
    "scaled_dot_product_attention", "self_attention", "self_attention_layer", "show", "softmax",
    "softmax_attention_weights", "yarn_factors",
]

Array = NDArray[Any]

num_threads = 1


def _load() -> ctypes.CDLL:
    """The shared object: $ATTENTION_LIBRARY, or what make or pip put beside this file."""
    here = os.path.dirname(os.path.abspath(__file__))
    beside = [os.path.join(here, name) for name in ("_attention.abi3.so", "_attention.so")]
    reason = "no _attention.so in " + here
    for path in [os.environ["ATTENTION_LIBRARY"]] if os.environ.get("ATTENTION_LIBRARY") else beside:
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            if os.path.exists(path) or path not in beside:
                reason = str(error)
    raise ImportError(f"attention: {reason}: run ./bootstrap && ./configure && make in a clone of attention.h, "
                      "or pip install . there")


_library = _load()


def _function(name: str, arrays: str, *numbers: Any) -> Any:
    """A function of the shared object that takes these arrays, numbers, and what all of them take."""
    function = getattr(_library, "attention_" + name)
    function.names = arrays.split()
    function.argtypes = [ctypes.c_char_p] * len(function.names) + list(numbers) + [
        ctypes.c_size_t, ctypes.POINTER(ctypes.c_char_p)]
    return function


_compute_qkv = _function("compute_qkv", "x w_q w_k w_v q k v")
_scores = _function("scores", "q k s")
_softmax = _function("softmax", "x y", ctypes.c_int)
_weighted_sum = _function("weighted_sum", "w v o")
_self_attention = _function("self_attention", "q k v out")
_forward = _function("forward", "q k v out mask kv_lens q_bounds alibi rel_bias sinks scores lse rowmax rowsum k_scale "
                     "k_zero v_scale v_zero", ctypes.c_double, ctypes.c_double, ctypes.c_int, ctypes.c_int,
                     ctypes.c_int64, ctypes.c_int64, ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_int64)
_layer = _function("layer", "x w_q w_k w_v w_o b_q b_k b_v b_o out weights mask", ctypes.c_size_t, ctypes.c_size_t,
                   ctypes.c_int)
_cache_append = _function("cache_append", "cache rows scale lens", ctypes.c_int64)
_rotate = _function("rotate", "x positions factors y", ctypes.c_double, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                    ctypes.c_double, ctypes.c_double)
_llama3 = _function("llama3", "factors", *[ctypes.c_double] * 5)
_yarn = _function("yarn", "factors magnitude", *[ctypes.c_double] * 5)
_quantize = _function("quantize", "x codes scale zero", ctypes.c_int)
_dequantize = _function("dequantize", "codes scale zero y")
_picture = _library.attention_picture
_picture.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.c_char_p),
                     ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p),
                     ctypes.POINTER(ctypes.c_size_t)]
_library.attention_free.argtypes = [ctypes.c_void_p]
_library.attention_free.restype = None
for _name in ("version", "dtype_name", "status_string", "picture"):
    getattr(_library, "attention_" + _name).restype = ctypes.c_char_p

__version__: str = _library.attention_version().decode()

_F16, _F32, _F64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
_BF16 = np.dtype(np.uint16)  # NumPy has no bfloat16
_I8, _U8 = np.dtype(np.int8), np.dtype(np.uint8)
_F8: dict[str, Any] = {name: np.dtype([(name, np.uint8)]) for name in ("float8_e4m3", "float8_e5m2")}  # nor these
_CODES: dict[str, Any] = {"int8": _I8, "uint8": _U8, **_F8}
_NAMES = {dtype: name for name, dtype in _CODES.items()}
_TYPES: dict[Any, int] = {}
while (_name := _library.attention_dtype_name(len(_TYPES)).decode()) != "q8_0":  # ggml's blocks are not for Python
    _TYPES[_BF16 if _name == "bfloat16" else _CODES[_name] if _name in _CODES else np.dtype(_name)] = len(_TYPES)
_BITS: Any = np.dtype([("bit", np.uint8)])
_TYPES[_BITS] = len(_TYPES) + 1
_SAME: Mapping[Any, Any] = {}
_STEP_TYPES = {_F16: _F32}  # the single steps and layers compute in the type of their arrays
_RECORDS = [struct.Struct(f"={3 + 2 * ndim}q").pack for ndim in range(65)]
_MOST_THREADS = 1024
_MOST_HEADS = 1 << 31
_MOST_KEYS = 1 << 62

_ndarray = np.ndarray
_byte: Any = ctypes.c_char.from_buffer
_addressof = ctypes.addressof


def _show(name: str, a: Array) -> str:
    return f"{name} {_NAMES.get(a.dtype, a.dtype)} {a.shape}"


def _brief(value: Any) -> str:
    """What it is, for messages about what should have been something else."""
    if isinstance(value, _ndarray):
        return _show("an array,", value)
    try:
        return reprlib.repr(value)
    except Exception:  # as of a number of very many digits
        return f"a {type(value).__name__}"


def _record(a: Array) -> bytes:
    """What _attention.c calls a record."""
    # the shorter way takes a third of the time, but has no place for empty, strided or read-only arrays
    address = _addressof(_byte(a)) if a.flags.carray and a.size else a.ctypes.data
    return _RECORDS[a.ndim](address, _TYPES[a.dtype], a.ndim, *a.shape, *a.strides)


def _call(function: Any, labels: Sequence[str], given: Sequence[Any], arrays: Sequence[Optional[Array]],
          *numbers: Any) -> None:
    """Calls a function of the shared object. labels are what the caller's arguments are called, and given those
    arguments themselves, both for errors: first what the arrays were made of, then numbers."""
    records = [None if a is None else _record(a) for a in arrays]
    threads = num_threads
    if type(threads) is not int or threads != 1:
        threads = _count("attention.num_threads", threads, _MOST_THREADS)
    status = function(*records, *numbers, threads, None)
    if not status:
        return
    text = _library.attention_status_string(status).decode()
    if _library.attention_out_of_memory(status):
        raise MemoryError(text)
    name = ctypes.c_char_p()
    function(*records, *numbers, threads, ctypes.byref(name))  # an error changes nothing: it is there again
    argument = (name.value or b"").decode()
    label = {**dict(window_left="window", window_right="window", kv_num_heads="num_kv_heads"),
             **dict(zip(function.names, labels))}.get(argument, argument)
    raise ValueError(f"{label + ': ' if label else ''}{text}{_arguments(labels, given, len(arrays))}")


def _arguments(labels: Sequence[str], given: Sequence[Any], arrays: int) -> str:
    """Those that are there, of which so many are arrays, as the end of a message."""
    shown = [_show(n, _array(n, a)) if i < arrays else f"{n} {_brief(a)}"
             for i, (n, a) in enumerate(zip(labels, given)) if a is not None]
    return f" ({', '.join(shown)})"


def _array(name: str, value: ArrayLike) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array of shape {value.shape}: use .filled(), or attn_mask of "
                        "scaled_dot_product_attention")
    try:
        return np.asarray(value)
    except Exception as error:
        raise (ValueError if isinstance(error, ValueError) else TypeError)(f"{name} is no array: {error}") from error


def _misplaced(a: Array) -> bool:
    """Has it elements where the C code takes none?"""
    if a.dtype.alignment == a.itemsize:
        aligned = a.flags.aligned
    else:  # float64 on 32-bit x86
        aligned = not any(place % a.itemsize for place in (a.ctypes.data, *a.strides))
    return not aligned or (a.size > 1 and not any(a.strides))


def _taken(a: Array, dtype: Any) -> Array:
    """The array itself if the C code takes it, else a copy."""
    if a.dtype != dtype:
        return a.astype(dtype)
    return a.copy() if not a.flags.carray and _misplaced(a) else a


def _overlaps_itself(a: Array) -> bool:
    """Could two elements lie in one place? attention.h's rule: not if each stride steps over what the smaller span."""
    span = a.itemsize
    for step, count in sorted((abs(step), count) for step, count in zip(a.strides, a.shape) if count > 1):
        if step < span:
            return a.size > 0
        span += step * (count - 1)
    return False


def _empty(name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    try:
        return np.empty(shape, dtype)
    except ValueError:  # NumPy's, where there are more bytes than numbers for them
        raise MemoryError(f"{name} would be {dtype} {shape}: more than fits in memory") from None


def _floats(labels: Sequence[str], values: Sequence[Any], least: int = 2,
            types: Mapping[Any, Any] = _SAME) -> tuple[Any, Sequence[Array]]:
    """The type of what is computed from values, and these as arrays of that type, or of types[it]."""
    dtype = getattr(values[0], "dtype", None)
    if dtype is _F64 or dtype is _F32:  # as in most calls, which this makes short
        plain = True
        for a in values:
            if type(a) is not _ndarray or a.dtype is not dtype or a.ndim < least:
                break
            plain = plain and a.flags.carray
        else:
            return dtype, values if plain else [_taken(a, dtype) for a in values]
    arrays = [_array(n, v) for n, v in zip(labels, values)]
    dtype = _common(labels, arrays)
    for name, a in zip(labels, arrays):
        if a.ndim < least:
            raise ValueError(f"{_show(name, a)} has too few dimensions: at least {least} are needed")
    return dtype, [_taken(a, types.get(dtype, dtype)) for a in arrays]


def _common(labels: Sequence[str], arrays: Sequence[Array]) -> Any:
    """The type of what NumPy computes of them; float64 for integers and booleans."""
    for name, a in zip(labels, arrays):
        if a.dtype.kind not in "biuf" or a.dtype.itemsize > 8:
            raise TypeError(f"{_show(name, a)}: its elements are neither float64, float32, float16 nor integers")
    dtype = np.result_type(*[a.dtype for a in arrays])
    return np.dtype(dtype.type) if dtype.kind == "f" else _F64


def _option(name: str, value: ArrayLike, dtype: Any) -> Array:
    """An array of numbers of the type that the computation has."""
    a = _array(name, value)
    _common([name], [a])
    return _taken(a if a.ndim else a.reshape(1), dtype)


def _mask(value: ArrayLike, dtype: Any, kv_len: int, place: str = "all") -> Array:
    a = _array("attn_mask", value)
    if a.dtype == _U8:
        if a.ndim == 0 or a.shape[-1] != (kv_len + 7) // 8 or place != "all":
            raise ValueError(f"{_show('attn_mask', a)}: bits of a mask have a byte for 8 keys, of all {kv_len}")
        return _taken(a.view(_BITS), _BITS)
    if a.dtype.kind not in "bf" or a.dtype.itemsize > 8:
        raise TypeError(f"{_show('attn_mask', a)}: it must be bool (True takes part) or floats, which are added, or "
                        "uint8, bits as by np.packbits(mask, axis=-1, bitorder='little')")
    if a.ndim == 0 or a.shape[-1] == 1:  # attention.h has a mask say something of each key
        a = np.broadcast_to(a, a.shape[:-1] + (kv_len,))
    with np.errstate(over="ignore"):  # what is too low for the type is -inf, which masks
        return _taken(a, a.dtype if a.dtype.kind == "b" else dtype)


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, (str, bytes, bytearray, np.ma.MaskedArray)) or isinstance(value, _ndarray) and value.ndim:
            raise TypeError
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large: {_brief(value)}") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {_brief(value)}") from None


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, (int, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {_brief(value)}")
    return bool(value)


def _count(name: str, value: Any, most: int, least: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {_brief(value)}") from None
    if not least <= number <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {_brief(number)}")
    return number


def _check_out(out: Array, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(out, _ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{_show('out', out)} has not the shape of the result, {shape}")
    if out.dtype != dtype:
        raise TypeError(f"{_show('out', out)} has not the type of the result, {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{_show('out', out)} is read-only")
    if not out.flags.carray:
        if _misplaced(out):
            raise ValueError(f"{_show('out', out)} has strides {out.strides}, or an address, that do not fit its "
                             "elements")
        if _overlaps_itself(out):
            raise ValueError(f"{_show('out', out)} has strides {out.strides}, which make its elements overlap")


def _target(out: Optional[Array], shape: tuple[int, ...], dtype: Any, types: Mapping[Any, Any] = _SAME) -> Array:
    """Where a result of this type is computed, in types[it] if that differs."""
    if out is not None:
        _check_out(out, shape, dtype)
        if dtype not in types:
            return out
    return _empty("the result", shape, types.get(dtype, dtype))


def _result(computed: Array, dtype: Any, out: Optional[Array]) -> Array:
    if out is None:
        return computed.astype(dtype, copy=False)
    if out is not computed:
        out[...] = computed
    return out


def _leading(labels: Sequence[str], given: Sequence[Any], *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """What leading dimensions broadcast to; labels and given as for _call."""
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(" and ".join(labels) + ": leading dimensions " + " and ".join(map(str, shapes)) +
                         " do not agree" + _arguments(labels, given, len(labels))) from None


# ------------------------------------------------------------------ the steps --

def compute_qkv(X: ArrayLike, W_q: ArrayLike, W_k: ArrayLike, W_v: ArrayLike) -> tuple[Array, Array, Array]:
    """Queries, keys and values: X W_q, X W_k, X W_v.

    X is (..., tokens, d_model); W_q and W_k are (d_model, d_k), W_v is (d_model, d_v). Returns Q and K,
    (..., tokens, d_k), and V, (..., tokens, d_v).
    """
    labels = ("X", "W_q", "W_k", "W_v", "Q", "K", "V")
    dtype, arrays = _floats(labels[:4], (X, W_q, W_k, W_v), 2, _STEP_TYPES)
    x = arrays[0]
    results = [_empty(name, x.shape[:-1] + w.shape[-1:], x.dtype) for name, w in zip(labels[4:], arrays[1:])]
    _call(_compute_qkv, labels, (X, W_q, W_k, W_v), [*arrays, *results])
    q, k, v = (_result(r, dtype, None) for r in results)
    return q, k, v


def compute_self_attention_scores(Q: ArrayLike, K: ArrayLike, *, out: Optional[Array] = None) -> Array:
    """Scores Q K^T / sqrt(d).

    Q is (..., q_len, d), K is (..., kv_len, d); leading dimensions broadcast. Returns (..., q_len, kv_len).
    """
    labels = ("Q", "K", "out")
    dtype, (q, k) = _floats(labels[:2], (Q, K), 2, _STEP_TYPES)
    shape = _leading(labels[:2], (Q, K), q.shape[:-2], k.shape[:-2]) + (q.shape[-2], k.shape[-2])
    scores = _target(out, shape, dtype, _STEP_TYPES)
    _call(_scores, labels, (Q, K, out), (q, k, scores))
    return _result(scores, dtype, out)


def softmax(x: ArrayLike, axis: int = -1, *, out: Optional[Array] = None) -> Array:
    """exp(x) / sum(exp(x)) along an axis, finite for all finite x. out may be x.

    A line of nothing but -inf gives zeros.

    >>> softmax([[1e4, 1e4], [0.0, -1e4]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    dtype, (a,) = _floats(("x",), (x,), 1, _STEP_TYPES)
    axis = _count("axis", axis, a.ndim - 1, -a.ndim)
    y = _target(out, a.shape, dtype, _STEP_TYPES)
    _call(_softmax, ("x", "out"), (x, out), (a, y), axis)
    return _result(y, dtype, out)


def softmax_attention_weights(scores: ArrayLike, *, out: Optional[Array] = None) -> Array:
    """The weights of scores (..., q_len, kv_len): their softmax along the keys, so that rows sum to 1."""
    dtype, (a,) = _floats(("scores",), (scores,), 1, _STEP_TYPES)
    weights = _target(out, a.shape, dtype, _STEP_TYPES)
    _call(_softmax, ("scores", "out"), (scores, out), (a, weights), -1)
    return _result(weights, dtype, out)


def compute_attention_output(weights: ArrayLike, V: ArrayLike, *, out: Optional[Array] = None) -> Array:
    """The output: weights V.

    weights are (..., q_len, kv_len), V is (..., kv_len, d_v); leading dimensions broadcast. Returns
    (..., q_len, d_v).
    """
    labels = ("weights", "V", "out")
    dtype, (w, v) = _floats(labels[:2], (weights, V), 2, _STEP_TYPES)
    shape = _leading(labels[:2], (weights, V), w.shape[:-2], v.shape[:-2]) + (w.shape[-2], v.shape[-1])
    output = _target(out, shape, dtype, _STEP_TYPES)
    _call(_weighted_sum, labels, (weights, V, out), (w, v, output))
    return _result(output, dtype, out)


# ------------------------------------------------------------------ attention --

_NOTEBOOK = ("Q", "K", "V", "out")
_SCALES = ("k_scale", "k_zero", "v_scale", "v_zero")
_PYTORCH = ("query", "key", "value", "out", "attn_mask", "kv_lens", "q_bounds", "alibi", "rel_bias", "sinks", "weights",
            "lse", "rowmax", "rowsum", *_SCALES, "scale", "softcap", "window")
_PLAIN = (0.0, 0.0, 0, 0, -1, -1, 0, 0, 0, -1)
_MASK_PLACES = ("all", "keys", "tail")
_Scales = Sequence[Optional[Array]]
_UNSCALED: _Scales = (None, None, None, None)
_CACHED = "float32, float16, bfloat16 (uint16), int8, float8_e4m3 or float8_e5m2"


def _spread(labels: Sequence[str], given: Sequence[Any], arrays: Sequence[Array], grouped: bool) -> list[Array]:
    """q, k and v with leading dimensions that agree, but that k and v may have fewer heads than q."""
    ndim = max(a.ndim for a in arrays)
    lead, *others = ((1,) * (ndim - a.ndim) + a.shape[:-2] for a in arrays)
    keys = _leading(labels[1:3], given[1:3], *others)
    if lead[-1:] != (1,) and (grouped or keys[-1:] == (1,)):
        batch = _leading(labels[:2], given, lead[:-1], keys[:-1])
        lead, keys = batch + lead[-1:], batch + keys[-1:]
    else:
        lead = keys = _leading(labels[:2], given, lead, keys)
    return [np.broadcast_to(a, to + a.shape[-2:]) for a, to in zip(arrays, (lead, keys, keys))]


def _folded(name: str, a: Optional[Array], lead: tuple[int, ...], kept: int) -> Optional[Array]:
    """An option with all leading dimensions but the last `kept` dimensions of its own in one, where it has them."""
    if a is None or a.ndim <= kept:
        return a
    try:
        spread = np.broadcast_to(a, lead + a.shape[-kept:])
    except ValueError:
        raise ValueError(f"{_show(name, a)} does not broadcast to leading dimensions {lead}") from None
    return spread.reshape((math.prod(lead),) + a.shape[-kept:])


def _integers(name: str, a: Array) -> Array:
    if a.dtype.kind not in "iu":
        raise TypeError(f"{_show(name, a)}: it must have integers")
    return a


def _intervals(q_bounds: Array, batch: tuple[int, ...]) -> Array:
    """(q_len, 2 R), or (B, q_len, 2 R) with all of the batch in one."""
    folded = _folded("q_bounds", _integers("q_bounds", q_bounds), batch, 2)
    return np.ascontiguousarray(folded, np.int64)


def _lengths(kv_lens: Array, batch: tuple[int, ...]) -> Array:
    _integers("kv_lens", kv_lens)
    if kv_lens.size == 1:
        kv_lens = kv_lens.reshape(())
    elif kv_lens.shape != batch:
        raise ValueError(f"{_show('kv_lens', kv_lens)} has not the shape of the batch, {batch}")
    return np.broadcast_to(kv_lens, batch).astype(np.int64).ravel()


def _attend(labels: Sequence[str], given: Sequence[Any], dtype: Any, arrays: Sequence[Array],
            out: Optional[Array] = None, mask: Optional[Array] = None, kv_lens: Optional[Array] = None,
            alibi: Optional[Array] = None, rel_bias: Optional[Array] = None, sinks: Optional[Array] = None,
            q_bounds: Optional[Array] = None, numbers: Sequence[Any] = _PLAIN, grouped: bool = False,
            return_weights: bool = False, return_lse: bool = False, return_statistics: bool = False,
            scales: _Scales = _UNSCALED) -> Any:
    q, k, v = arrays
    lead = q.shape[:-2]
    if k.shape[:-2] != lead or v.shape[:-2] != lead:
        q, k, v = _spread(labels, given, arrays, grouped)
        lead = q.shape[:-2]
    if kv_lens is not None:
        kv_lens = _lengths(kv_lens, lead[:-1])
    if q_bounds is not None:
        q_bounds = _intervals(q_bounds, lead[:-1])
    shape = lead + (q.shape[-2], v.shape[-1])
    folded = len(lead) > 2  # all but the heads into one: attention.h takes four dimensions
    if folded:
        count = math.prod(lead[:-1])
        q, k, v = (a.reshape((count,) + a.shape[-3:]) for a in (q, k, v))
        mask, alibi = _folded("attn_mask", mask, lead[:-1], 3), _folded("alibi", alibi, lead[:-1], 1)
        rel_bias = _folded("rel_bias", rel_bias, lead[:-1], 3)
        scales = [_folded(name, a, lead[:-1], 3) for name, a in zip(_SCALES, scales)]
    if out is not None:
        _check_out(out, shape, dtype)
    results: list[Optional[Array]] = [_empty("the result", shape, dtype) if out is None or folded else out, *[None] * 4]
    if return_weights:
        results[1] = _empty("the weights", lead + (q.shape[-2], k.shape[-2]), dtype)
    for i, wanted in ((2, return_lse), (3, return_statistics), (4, return_statistics)):
        if wanted:
            results[i] = _empty("a number for each query", lead + q.shape[-2:-1], _STEP_TYPES.get(dtype, dtype))
    computed = (r if r is None or not folded else r.reshape((count,) + r.shape[len(lead) - 1:])
                for r in results)
    _call(_forward, labels, given,
          (q, k, v, next(computed), mask, kv_lens, q_bounds, alibi, rel_bias, sinks, *computed, *scales), *numbers)
    if folded and out is not None:
        out[...] = results[0]
        results[0] = out
    given = [r for r in results if r is not None]
    return tuple(given) if len(given) > 1 else given[0]


def self_attention(Q: ArrayLike, K: ArrayLike, V: ArrayLike, *, out: Optional[Array] = None) -> Array:
    """softmax(Q K^T / sqrt(d)) V.

    Q is (..., q_len, d), K is (..., kv_len, d), V is (..., kv_len, d_v); leading dimensions broadcast. Returns
    (..., q_len, d_v). Memory is needed for the result alone, not for weights.
    """
    dtype, arrays = _floats(_NOTEBOOK, (Q, K, V))
    q, k, v = arrays
    if q.ndim == k.ndim == v.ndim == 2:  # the least work for the least problems
        output = _target(out, (q.shape[0], v.shape[1]), dtype)
        _call(_self_attention, _NOTEBOOK, (Q, K, V, out), (q, k, v, output))
    else:
        output = _attend(_NOTEBOOK, (Q, K, V, out), dtype, arrays, out)
    return output


def scaled_dot_product_attention(
        query: ArrayLike, key: ArrayLike, value: ArrayLike, attn_mask: Optional[ArrayLike] = None,
        dropout_p: float = 0.0, is_causal: bool = False, scale: Optional[float] = None, enable_gqa: bool = False, *,
        lower_right: bool = False, window: Optional[tuple[int, int]] = None, softcap: Optional[float] = None,
        alibi: Optional[ArrayLike] = None, rel_bias: Optional[ArrayLike] = None, rel_first: int = 0,
        rel_clamp: bool = False, sinks: Optional[ArrayLike] = None, kv_lens: Optional[ArrayLike] = None,
        q_bounds: Optional[ArrayLike] = None, mask_place: str = "all", k_scale: Optional[ArrayLike] = None,
        k_zero: Optional[ArrayLike] = None, v_scale: Optional[ArrayLike] = None, v_zero: Optional[ArrayLike] = None,
        kv_dtype: Optional[str] = None, return_weights: bool = False, return_lse: bool = False,
        return_statistics: bool = False, out: Optional[Array] = None) -> Any:
    """PyTorch's function of this name, and what attention.h adds.

    query is (..., heads, q_len, d), key is (..., kv_heads, kv_len, d), value is (..., kv_heads, kv_len, d_v); leading
    dimensions, all of them optional, broadcast. Returns (..., heads, q_len, d_v).

    attn_mask    (..., heads, q_len, kv_len) or what broadcasts to it: bool, True takes part; or floats, which are
                 added to the scores; or the bits of bool, np.packbits(mask, axis=-1, bitorder="little"). Together
                 with is_causal, both count
    dropout_p    0: there is no dropout here
    is_causal    query i sees keys up to its position, which is i, or with lower_right i + kv_len - q_len (with
                 kv_lens, the length of that batch - q_len)
    scale        of the scores; None: 1 / sqrt(d)
    enable_gqa   heads may be a multiple of kv_heads (kv_heads = 1 always broadcasts)
    window       (left, right): keys from so many before a query's position to so many after it; -1: all of them
    softcap      scores become softcap * tanh(score / softcap); None: they stay
    alibi        (heads) or (batch, heads): slope * distance from the query's position is subtracted
    rel_bias     (..., heads, q_len, r) or what broadcasts to it: entry (position of the query - key) - rel_first is
                 added to the score; to others nothing, or with rel_clamp the first or the last entry
    sinks        (heads): a score that only the sum of weights counts
    kv_lens      (batch), or one for all: the number of keys of each batch; others are not looked at
    q_bounds     (batch, q_len, 2 R) or (q_len, 2 R): R intervals of keys of each query, begin and end in turn, in
                 ascending order; the query sees none but theirs
    mask_place   what keys the columns of attn_mask are for, if there are fewer: "keys", the first, and others take no
                 part; or "tail", the last (of each batch), and others take part
    k_scale      with it or k_zero, key is int8 or uint8, and an element is (number - k_zero) * k_scale in float32:
                 (..., kv_heads, kv_len, c) or what broadcasts to it, where c divides d
    k_zero       of the same shape or one of 1
    v_scale, v_zero    the same for value
    kv_dtype     "float8_e4m3" or "float8_e5m2": key and value that are uint8 hold these floats

    With keys or values of 8 bits the rest is float32, or float16 if query is: the result has the bits of the same call
    on dequantize(key, k_scale, k_zero). Without scales, zero points and kv_dtype, integers are numbers like others.

    With return_weights, (..., heads, q_len, kv_len), or return_lse, the logarithm of the sum of exp(score),
    (..., heads, q_len), or return_statistics, a query's largest score and the sum of exp(score - it), both without
    sinks: a tuple of output, weights, logarithm, largest score and sum, as far as they are asked for. A query that sees
    no key gets an output and weights of 0.
    """
    if _number("dropout_p", dropout_p) != 0:
        raise ValueError(f"dropout_p must be 0, not {dropout_p!r}: there is no dropout here")
    scales = _UNSCALED
    if k_scale is None and k_zero is None and v_scale is None and v_zero is None and kv_dtype is None:
        dtype, arrays = _floats(_PYTORCH, (query, key, value))
    else:
        scales = [None if a is None else _option(name, a, _F32)
                  for name, a in zip(_SCALES, (k_scale, k_zero, v_scale, v_zero))]
        dtype, arrays = _with_codes((query, key, value), scales, kv_dtype)
    return _with_options((query, key, value), dtype, arrays, attn_mask, _flag("is_causal", is_causal), scale,
                         _flag("enable_gqa", enable_gqa), _flag("lower_right", lower_right), window, softcap, alibi,
                         (rel_bias, rel_first, rel_clamp), sinks, kv_lens, q_bounds, return_weights, return_lse,
                         return_statistics, out, mask_place, scales, (k_scale, k_zero, v_scale, v_zero))


def _with_codes(values: Sequence[Any], scales: _Scales, kv_dtype: Optional[str]) -> tuple[Any, list[Array]]:
    """The type of what is computed where key or value have 8 bits, and these arrays."""
    if kv_dtype is not None and kv_dtype not in _F8:
        raise ValueError(f"kv_dtype must be {' or '.join(map(repr, _F8))}, not {kv_dtype!r}")
    query, *others = (_array(name, a) for name, a in zip(_PYTORCH, values))
    dtype, (q,) = _floats(_PYTORCH, (query,))
    dtype = _F16 if dtype == _F16 else _F32
    arrays = [_taken(q, dtype)]
    for i, (name, a) in enumerate(zip(_PYTORCH[1:3], others)):
        given = [f"{n} {s.shape}" for n, s in zip(_SCALES[2 * i:], scales[2 * i:2 * i + 2]) if s is not None]
        held = _F8[kv_dtype] if kv_dtype is not None and a.dtype == _U8 else a.dtype
        if held not in _NAMES or (held in (_I8, _U8) and not given):
            if given:
                raise TypeError(f"{_show(name, a)}: it must be int8 or uint8 beside {' and '.join(given)}")
            taken, = _floats((name,), (a,))[1]
            arrays.append(_taken(taken, _F16 if taken.dtype == _F16 else _F32))
            continue
        if a.ndim < 2:
            raise ValueError(f"{_show(name, a)} has too few dimensions: at least 2 are needed")
        arrays.append(_taken(a.view(held), held))
    return dtype, arrays


def _with_options(
        given: tuple[Any, ...], dtype: Any, arrays: Sequence[Array], attn_mask: Optional[ArrayLike],
        is_causal: bool, scale: Optional[float], enable_gqa: bool, lower_right: bool,
        window: Optional[tuple[int, int]], softcap: Optional[float], alibi: Optional[ArrayLike],
        relative: tuple[Optional[ArrayLike], int, bool], sinks: Optional[ArrayLike], kv_lens: Optional[ArrayLike],
        q_bounds: Optional[ArrayLike], return_weights: bool, return_lse: bool, return_statistics: bool,
        out: Optional[Array], mask_place: str, scales: _Scales, given_scales: Sequence[Any],
        ring_sinks: int = -1) -> Any:
    if mask_place not in _MASK_PLACES:
        raise ValueError(f"mask_place must be one of {', '.join(_MASK_PLACES)}, not {mask_place!r}")
    compute = _STEP_TYPES.get(dtype, dtype)
    factor = 0.0 if scale is None else _number("scale", scale)
    if factor == 0 and scale is not None:  # 0 has attention.h take its default
        with np.errstate(invalid="ignore"):  # infinity gives NaN, as it does in a score
            arrays = [arrays[0] * dtype.type(0), *arrays[1:]]
    left, right = -1, -1
    if window is not None:
        try:
            left, right = window
        except (TypeError, ValueError):
            raise TypeError(f"window must be (left, right), not {_brief(window)}") from None
        left, right = (_count("window", side, _MOST_KEYS, -1) for side in (left, right))
    rel_bias, rel_first, rel_clamp = relative
    with np.errstate(over="ignore"):  # what is too low for the type is -inf, as in masks
        table = None if rel_bias is None else _option("rel_bias", rel_bias, compute)
    given = (*given, out, attn_mask, kv_lens, q_bounds, alibi, rel_bias, sinks, *[None] * 4, *given_scales, scale,
             softcap, window)
    return _attend(
        _PYTORCH, given, dtype, arrays, out,
        None if attn_mask is None else _mask(attn_mask, compute, arrays[1].shape[-2], mask_place),
        None if kv_lens is None else _array("kv_lens", kv_lens),
        None if alibi is None else _option("alibi", alibi, compute),
        table,
        None if sinks is None else _option("sinks", sinks, compute),
        None if q_bounds is None else _array("q_bounds", q_bounds),
        (factor, 0.0 if softcap is None else _number("softcap", softcap), is_causal, lower_right, left, right,
         _MASK_PLACES.index(mask_place), _count("rel_first", rel_first, _MOST_KEYS // 2, -_MOST_KEYS // 2),
         _flag("rel_clamp", rel_clamp), ring_sinks),
        enable_gqa, _flag("return_weights", return_weights), _flag("return_lse", return_lse),
        _flag("return_statistics", return_statistics), scales)


# ----------------------------------------------------------------- eight bits --

def _code_type(name: str, value: Any) -> Any:
    dtype = _CODES.get(value) if isinstance(value, str) else np.dtype(value)
    if dtype not in _NAMES:
        raise TypeError(f"{name} must be {', '.join(_CODES)}, not {value!r}")
    return dtype


def _bytes(a: Array) -> Array:
    """What NumPy calls an array of this type."""
    return a if a.dtype in (_I8, _U8) else a.view(_U8)


def quantize(x: ArrayLike, dtype: DTypeLike = "int8", *, scale_shape: Optional[tuple[int, ...]] = None,
             scale: Optional[ArrayLike] = None, zero: Optional[ArrayLike] = None) -> tuple[Array, Array]:
    """Numbers in 8 bits: codes and their scales, so that x is about codes * scale.

    dtype is int8, uint8, "float8_e4m3" or "float8_e5m2", whose codes are uint8. Scales are found, one for each row
    (x.shape[:-1] + (1,)), or of a scale_shape that broadcasts to x, whose last dimension may also divide that of x:
    the largest magnitude / 127 (448, 57344). Or scale and zero are given, which uint8 needs: codes are then
    x / scale + zero, rounded to nearest even and limited to the type. x is taken as float32, or float16.

    >>> codes, scale = quantize([[1.0, -0.5, 0.25], [30.0, 20.0, 10.0]])
    >>> codes
    array([[127, -64,  32],
           [127,  85,  42]], dtype=int8)
    >>> scale.ravel() * 127
    array([ 1., 30.], dtype=float32)
    >>> dequantize(codes, scale).round(2)
    array([[ 1.  , -0.5 ,  0.25],
           [30.  , 20.08,  9.92]], dtype=float32)
    """
    held = _code_type("dtype", dtype)
    taken, = _floats(("x",), (x,), 1)[1]
    a = _taken(taken, _F16 if taken.dtype == _F16 else _F32)
    codes = np.empty(a.shape, held)
    if scale is not None or zero is not None:
        if scale_shape is not None:
            raise TypeError("scale_shape is for scales that are found")
        scales = np.ones(1, np.float32) if scale is None else _option("scale", scale, _F32)
        zeros = None if zero is None else _option("zero", zero, _F32)
        _call(_quantize, ("x", "codes", "scale", "zero"), (a, codes, scales, zeros), (a, codes, scales, zeros), False)
        return _bytes(codes), scales
    if held == _U8:
        raise TypeError("uint8 needs a scale, or a zero: they are not found")
    if scale_shape is None:  # rows, whatever the number of dimensions
        scales = np.empty(a.shape[:-1] + (1,), np.float32)
        rows = math.prod(a.shape[:-1])
        views = a.reshape(rows, a.shape[-1]), codes.reshape(rows, a.shape[-1]), scales.reshape(rows, 1)
    else:
        scales = np.empty(scale_shape, np.float32)
        views = a, codes, scales
    _call(_quantize, ("x", "codes", "scale"), (a, codes, scales), (*views, None), True)
    return _bytes(codes), scales


def dequantize(codes: ArrayLike, scale: Optional[ArrayLike] = None, zero: Optional[ArrayLike] = None, *,
               dtype: Optional[DTypeLike] = None, out: Optional[Array] = None) -> Array:
    """The numbers that codes stand for, (codes - zero) * scale in float32.

    codes are int8 or uint8; with dtype "float8_e4m3" or "float8_e5m2", uint8 that hold these. scale and zero are arrays
    that broadcast to codes, or whose last dimension divides that of codes.
    """
    a = _array("codes", codes)
    if a.dtype not in (_I8, _U8):
        raise TypeError(f"{_show('codes', a)}: they must be int8 or uint8")
    held = a.dtype if dtype is None else _code_type("dtype", dtype)
    if held != a.dtype and not (a.dtype == _U8 and held in _F8.values()):
        raise TypeError(f"{_show('codes', a)} do not hold {_NAMES[held]}")
    if a.ndim < 1:
        raise ValueError(f"{_show('codes', a)} has too few dimensions: at least 1 is needed")
    y = _target(out, a.shape, _F32)
    scales, zeros = (None if s is None else _option(n, s, _F32) for n, s in (("scale", scale), ("zero", zero)))
    labels, lead, numbers = ("codes", "scale", "zero", "out"), a.shape[:-3], y
    arrays: Sequence[Optional[Array]] = [_taken(a.view(held), held), scales, zeros]
    if a.ndim > 4:  # as in _attend
        arrays = [_folded(n, s, lead, 3) for n, s in zip(labels, arrays)]
        numbers = np.empty((math.prod(lead),) + a.shape[-3:], np.float32)
    _call(_dequantize, labels, (a, scales, zeros, y), (*arrays, numbers))
    return _result(numbers if numbers is y else numbers.reshape(a.shape), _F32, y)


# --------------------------------------------------------------------- rotary --

_LLAMA3 = ("base", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
_YARN = ("base", "factor", "beta_fast", "beta_slow", "original_max_position_embeddings")


def rotary(x: ArrayLike, positions: Optional[ArrayLike] = None, *, base: float = 10000.0,
           rotary_dim: Optional[int] = None, interleaved: bool = False, inverse: bool = False, scale: float = 1.0,
           magnitude: float = 1.0, factors: Optional[ArrayLike] = None, out: Optional[Array] = None) -> Array:
    """Rotary position embedding of queries or keys x, (..., heads, tokens, d).

    positions are (tokens), or (batch, tokens) for x (batch, heads, tokens, d); None: 0, 1, 2, ... The first rotary_dim
    elements (None: d) of a row are turned in pairs, pair i by position * base^(-2i / rotary_dim) / factors[i] * scale
    radians: (2i, 2i + 1) if interleaved, else (i, i + rotary_dim / 2); inverse: back. What is turned is multiplied by
    magnitude. factors are those of llama3_factors or yarn_factors. out may be x.

    >>> rotary([[1.0, 0.0], [1.0, 0.0]]).round(4)
    array([[1.    , 0.    ],
           [0.5403, 0.8415]])
    """
    dtype, (a,) = _floats(("x",), (x,))
    y = _target(out, a.shape, dtype)
    places = None if positions is None else _integers("positions", _array("positions", positions)).astype(np.int64)
    divisors = None if factors is None else _option("factors", factors, _F64)
    folded = a.ndim > 4
    if folded:
        places = _folded("positions", places, a.shape[:-3], 1)
    from_x, to = (b.reshape((-1,) + b.shape[-3:]) if folded else b for b in (a, y))
    _call(_rotate, ("x", "positions", "factors", "out", "base", "rotary_dim", "scale", "magnitude"),
          (x, positions, factors, out, base, rotary_dim, scale, magnitude), (from_x, places, divisors, to),
          _number("base", base),
          0 if rotary_dim is None else _count("rotary_dim", rotary_dim, _MOST_KEYS),
          _flag("interleaved", interleaved), _flag("inverse", inverse), _number("scale", scale),
          _number("magnitude", magnitude))
    if folded and not np.shares_memory(to, y):
        y[...] = to.reshape(y.shape)
    return y


def llama3_factors(rotary_dim: int, base: float = 500000.0, factor: float = 8.0, low_freq_factor: float = 1.0,
                   high_freq_factor: float = 4.0, original_max_position_embeddings: float = 8192.0) -> Array:
    """The factors of Llama 3.1 for rotary, from the numbers that its models publish as rope_scaling."""
    factors = np.empty(_count("rotary_dim", rotary_dim, _MOST_HEADS, 2) // 2)
    numbers = (base, factor, low_freq_factor, high_freq_factor, original_max_position_embeddings)
    _call(_llama3, ("", *_LLAMA3), (None, *numbers), (factors,), *map(_number, _LLAMA3, numbers))
    return factors


def yarn_factors(rotary_dim: int, base: float = 10000.0, factor: float = 1.0, beta_fast: float = 32.0,
                 beta_slow: float = 1.0, original_max_position_embeddings: float = 4096.0) -> tuple[Array, float]:
    """The factors and the magnitude of YaRN for rotary, from the numbers that models publish as rope_scaling."""
    factors, magnitude = np.empty(_count("rotary_dim", rotary_dim, _MOST_HEADS, 2) // 2), np.empty(1)
    numbers = (base, factor, beta_fast, beta_slow, original_max_position_embeddings)
    _call(_yarn, ("", "", *_YARN), (None, None, *numbers), (factors, magnitude), *map(_number, _YARN, numbers))
    return factors, float(magnitude[0])


class Cache:
    """The keys and values of the tokens so far, for decoding step by step. While one thread appends, no other may
    use the same cache.

    >>> rng = np.random.default_rng(0)
    >>> cache = Cache(capacity=100, kv_heads=2, head_dim=8, dtype="bfloat16")
    >>> for token in range(3):
    ...     cache.append(rng.standard_normal((2, 1, 8)), rng.standard_normal((2, 1, 8)))
    ...     output = cache.attend(rng.standard_normal((4, 1, 8)))
    >>> len(cache), output.shape, output.dtype
    (3, (4, 1, 8), dtype('float32'))

    With a window, a cache never fills: tokens take the rows of earlier ones.

    >>> streaming = Cache(capacity=4 + 60, kv_heads=2, head_dim=8, window=60, sinks=4)
    >>> for token in range(1000):
    ...     streaming.append(rng.standard_normal((2, 1, 8)), rng.standard_normal((2, 1, 8)))
    >>> len(streaming), streaming.keys.shape, streaming.attend(rng.standard_normal((4, 1, 8))).shape
    (1000, (1, 2, 64, 8), (4, 1, 8))
    """

    def __init__(self, capacity: int, kv_heads: int, head_dim: int, *, batch: int = 1,
                 head_dim_v: Optional[int] = None, dtype: DTypeLike = np.float32, window: Optional[int] = None,
                 sinks: int = 0) -> None:
        """Room for `capacity` tokens. dtype is float32, float16 or bfloat16, which NumPy sees as uint16; or int8,
        "float8_e4m3" or "float8_e5m2", which NumPy sees as uint8, with a scale for each row of each head: a quarter of
        the memory of float32, and 4 bytes.

        With a window, a token sees the last `window` tokens, itself among them, and the first `sinks` (StreamingLLM),
        and any number of tokens may be appended: the first `sinks` keep their rows, others take those of earlier ones.
        capacity is then at least sinks + window; attend needs one more for each of its queries but the first."""
        text = dtype if isinstance(dtype, str) else ""
        try:
            self._dtype = _BF16 if str(dtype) == "bfloat16" else _F8[text] if text in _F8 else np.dtype(dtype)
        except Exception:
            raise TypeError(f"dtype must be {_CACHED}, not {_brief(dtype)}") from None
        self._coded = self._dtype in _NAMES
        if self._dtype not in (_F32, _F16, _BF16, _I8, *_F8.values()):
            raise TypeError(f"dtype must be {_CACHED}, not {self._dtype}")
        shape = (_count("batch", batch, _MOST_KEYS), _count("kv_heads", kv_heads, _MOST_HEADS),
                 _count("capacity", capacity, _MOST_KEYS))
        shapes = [shape + (_count(name, columns, _MOST_KEYS),)
                  for name, columns in (("head_dim", head_dim),
                                        ("head_dim_v", head_dim if head_dim_v is None else head_dim_v))]
        self._keys, self._values = (_empty(name, s, self._dtype) for name, s in zip(("keys", "values"), shapes))
        self._scales = [_empty("the scales", shape + (1,), _F32) if self._coded else None for _ in shapes]
        self._length = 0
        self._window, self._sinks = None, -1  # no ring
        if window is not None:
            self._sinks = _count("sinks", sinks, shape[2] - 1, 0)
            self._window = _count("window", window, shape[2] - self._sinks)
        elif sinks != 0:
            raise ValueError("sinks are beside a window")

    def __len__(self) -> int:
        """The number of tokens."""
        return self._length

    @property
    def keys(self) -> Array:
        """(batch, kv_heads, tokens, head_dim), a view. With a window, the rows as they lie."""
        return self._shown(self._keys)

    @property
    def values(self) -> Array:
        """(batch, kv_heads, tokens, head_dim_v), a view."""
        return self._shown(self._values)

    @property
    def k_scale(self) -> Optional[Array]:
        """(batch, kv_heads, tokens, 1), a view, in a cache of 8 bits: keys are keys * k_scale; else None."""
        return None if self._scales[0] is None else self._scales[0][:, :, :self._length]

    @property
    def v_scale(self) -> Optional[Array]:
        """The same for values."""
        return None if self._scales[1] is None else self._scales[1][:, :, :self._length]

    def _shown(self, cache: Array) -> Array:
        return (_bytes(cache) if self._coded else cache)[:, :, :self._length]

    def append(self, key: ArrayLike, value: ArrayLike) -> None:
        """Adds n tokens: key is (batch, kv_heads, n, head_dim), value (batch, kv_heads, n, head_dim_v), or both
        without the batch if that is 1. They are rounded to the type of the cache; of 8 bits as by quantize."""
        rows = [self._rows(name, a) for name, a in zip(("key", "value"), _floats(("key", "value"), (key, value), 3)[1])]
        end = self._length + rows[0].shape[2]
        lens = np.full(self._keys.shape[0], self._length, np.int64)
        for name, a, cache in zip(("key", "value"), rows, (self._keys, self._values)):
            needed = cache.shape[:2] + rows[0].shape[2:3] + cache.shape[3:]
            if a.shape != needed:
                raise ValueError(f"{_show(name, a)}: the cache needs {needed}")
        if self._window is None and end > self._keys.shape[2]:
            raise ValueError(f"{_show('key', rows[0])}: the cache holds {self._length} of {self._keys.shape[2]} tokens")
        for name, a, cache, scale in zip(("key", "value"), rows, (self._keys, self._values), self._scales):
            _call(_cache_append, ("the cache", name), (cache, a), (cache, a, scale, lens), self._sinks)
        self._length = end

    def attend(self, query: ArrayLike, attn_mask: Optional[ArrayLike] = None, scale: Optional[float] = None, *,
               window: Optional[tuple[int, int]] = None, softcap: Optional[float] = None,
               alibi: Optional[ArrayLike] = None, rel_bias: Optional[ArrayLike] = None, rel_first: int = 0,
               rel_clamp: bool = False, sinks: Optional[ArrayLike] = None, return_weights: bool = False,
               return_lse: bool = False, return_statistics: bool = False, out: Optional[Array] = None) -> Any:
        """The attention of the last q_len tokens, each of which sees those up to itself.

        query is (batch, heads, q_len, head_dim), or without the batch if that is 1; heads may be a multiple of
        kv_heads. It is computed in float32, and the result has that type unless query has float16. Options are those
        of scaled_dot_product_attention; attn_mask, window and return_weights are not for a cache that has a window.
        """
        dtype, (q,) = _floats(("query",), (query,), 3)
        dtype = _F16 if dtype is _F16 else _F32
        q = _taken(q, dtype)
        kept = self._length if self._window is None else self._keys.shape[2]
        k, v = self._keys[:, :, :kept], self._values[:, :, :kept]
        scales: list[Optional[Array]] = [None if s is None else s[:, :, :kept] for s in self._scales]
        scales[1:1], scales[3:3] = [None], [None]
        if q.ndim == 3 and k.shape[0] == 1:
            k, v, scales = k[0], v[0], [None if s is None else s[0] for s in scales]
        if q.shape[:-3] != k.shape[:-3]:
            raise ValueError(f"{_show('query', q)}: the batch of the cache is {self._keys.shape[0]}")
        lens = bounds = None
        if self._window is not None:
            for name, option in (("attn_mask", attn_mask), ("window", window), ("return_weights", return_weights)):
                if option is not None and option is not False:
                    raise ValueError(f"{name} is not for a cache that has a window")
            lens = np.array(self._length)
            window = (self._window - 1, 0)
            if self._sinks:
                ends = np.arange(self._length - q.shape[-2], self._length) + 1
                bounds = np.zeros((len(ends), 4), np.int64)
                bounds[:, 1], bounds[:, 3] = self._sinks, ends
                bounds[:, 2] = np.maximum(self._sinks, ends - self._window)
                window = None
        return _with_options((query, k, v), dtype, (q, k, v), attn_mask, True, scale, True, True, window, softcap,
                             alibi, (rel_bias, rel_first, rel_clamp), sinks, lens, bounds, return_weights, return_lse,
                             return_statistics, out, "all", scales, (None,) * 4, self._sinks)

    def _rows(self, name: str, a: Array) -> Array:
        if a.ndim == 3 and self._keys.shape[0] == 1:
            a = a[np.newaxis]
        return _taken(a, _F16 if a.dtype is _F16 else _F32)


# --------------------------------------------------------------------- layers --

_LAYER = ("X", "W_q", "W_k", "W_v", "W_o", "b_q", "b_k", "b_v", "b_o", "out", "weights", "attn_mask", "num_heads",
          "num_kv_heads")


def self_attention_layer(X: ArrayLike, W_q: ArrayLike, W_k: ArrayLike, W_v: ArrayLike) -> tuple[Array, Array]:
    """A layer of one head: its output and its weights.

    X is (..., tokens, d_model); W_q and W_k are (d_model, d_k), W_v is (d_model, d_v). Returns the output,
    (..., tokens, d_v), and the weights, (..., tokens, tokens).
    """
    output, weights = multi_head_attention(X, W_q, W_k, W_v, None, 1, return_weights=True)
    return output, weights[..., 0, :, :]


def multi_head_attention(
        X: ArrayLike, W_q: ArrayLike, W_k: ArrayLike, W_v: ArrayLike, W_o: Optional[ArrayLike], num_heads: int, *,
        num_kv_heads: Optional[int] = None, b_q: Optional[ArrayLike] = None, b_k: Optional[ArrayLike] = None,
        b_v: Optional[ArrayLike] = None, b_o: Optional[ArrayLike] = None, attn_mask: Optional[ArrayLike] = None,
        is_causal: bool = False, return_weights: bool = False, out: Optional[Array] = None) -> Any:
    """A layer of several heads: projections, attention in each head, heads joined, output projection.

    X is (..., tokens, d_model), W_q (d_model, num_heads * d), W_k (d_model, num_kv_heads * d),
    W_v (d_model, num_kv_heads * d_v), W_o (num_heads * d_v, d_out) or None. Biases b_* are vectors of as many columns.
    attn_mask is (..., num_heads, tokens, tokens) or what broadcasts to it, as in scaled_dot_product_attention.
    Returns (..., tokens, d_out), without W_o (..., tokens, num_heads * d_v); with return_weights a tuple of that and
    the weights, (..., num_heads, tokens, tokens).
    """
    heads = _count("num_heads", num_heads, _MOST_HEADS)
    kv_heads = heads if num_kv_heads is None else _count("num_kv_heads", num_kv_heads, _MOST_HEADS)
    given = (X, W_q, W_k, W_v, W_o, b_q, b_k, b_v, b_o, out, None, attn_mask, num_heads, num_kv_heads)
    there = {n: a for n, a in zip(_LAYER[:9], given) if n in _LAYER[:4] or a is not None}
    dtype, taken = _floats(list(there), list(there.values()), 1, _STEP_TYPES)
    arrays: list[Any] = [dict(zip(there, taken)).get(name) for name in _LAYER[:12]]
    x = arrays[0]
    for name, a in zip(_LAYER[:5], arrays):
        if a is not None and a.ndim < 2:
            raise ValueError(f"{_show(name, a)} has too few dimensions: at least 2 are needed")
    if arrays[1].shape[1] % heads:
        raise ValueError(f"{_show('W_q', arrays[1])}: the number of columns is not a multiple of num_heads, {heads}")
    mask = None if attn_mask is None else _mask(attn_mask, x.dtype, x.shape[-2])
    lead, tokens = x.shape[:-2], x.shape[-2]
    batch = math.prod(lead)
    joined = arrays[3].shape[-1] // kv_heads * heads if W_o is None else arrays[4].shape[-1]
    if out is not None:
        _check_out(out, lead + (tokens, joined), dtype)
    if len(lead) > 1:
        mask = _folded("attn_mask", mask, lead, 3)
    output = _empty("the result", (batch, tokens, joined), x.dtype)
    weights = (_empty("the weights", (batch, heads, tokens, tokens), x.dtype)
               if _flag("return_weights", return_weights) else None)
    arrays[0] = x.reshape((batch,) + x.shape[-2:])
    arrays[9:] = output, weights, mask
    _call(_layer, _LAYER, given, arrays, heads, kv_heads, _flag("is_causal", is_causal))
    output = _result(output.reshape(lead + output.shape[1:]), dtype, out)
    if weights is None:
        return output
    return output, _result(weights.reshape(lead + weights.shape[1:]), dtype, None)


# ------------------------------------------------------------------- pictures --

_SVG, _PNG, _ASCII, _BLOCKS = range(4)
_VIEWS = ("map", "lines")


def _text(name: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {_brief(value)}")
    return value.replace("\0", "\ufffd").encode("utf-8", "replace")


def _words(name: str, value: Any, weights: Array, axis: int) -> Any:
    """Labels of the queries (axis -2) or the keys (-1)."""
    if value is None:
        return None
    words = value.split() if isinstance(value, str) else value
    try:
        texts = [_text(f"{name}[{i}]", word) for i, word in enumerate(words)]
    except TypeError as error:
        raise TypeError(f"{name} must be a str or a list of them: {error}") from None
    count = weights.shape[axis]
    if len(texts) != count:
        meaning, hint = ("queries", "") if axis == -2 else ("keys", "; keys has words for them" * (name != "keys"))
        raise ValueError(f"{name} has {len(texts)} words, but there are {count} {meaning} "
                         f"({_show('weights', weights)}){hint}")
    return (ctypes.c_char_p * count)(*texts)


class Picture:
    """Attention weights as they were when show() drew them: a notebook displays it, str() is text for a terminal."""

    svg: str

    def __init__(self, *look: Any) -> None:
        self._look = look
        self.svg = self._drawn(_SVG).decode()

    def _drawn(self, form: int) -> bytes:
        weights, *look = self._look
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        wrong = _picture(form, _record(weights), *look, ctypes.byref(data), ctypes.byref(size))
        if wrong:
            text = wrong.decode()
            raise MemoryError(text) if "no memory" in text else ValueError(f"{_show('weights', weights)}: {text}")
        try:
            return ctypes.string_at(data, size.value)
        finally:
            _library.attention_free(data)

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        return self._drawn(_BLOCKS if encoding.lower().startswith("utf") else _ASCII).decode().rstrip("\n")

    __repr__ = __str__

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes a file whose name ends in .svg or, if built with libpng, .png; on an error, what was there stays."""
        target = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
        if not isinstance(target, str):
            raise TypeError(f"path must be a str or an os.PathLike of one, not {_brief(path)}")
        ending = os.path.splitext(target)[1].lower()
        if ending not in (".svg", ".png"):
            raise ValueError(f"path: {target!r} ends neither in .svg nor in .png")
        if "\0" in target:
            raise ValueError(f"path: {target!r} has a null character")
        data = self.svg.encode() if ending == ".svg" else self._drawn(_PNG)
        real = os.path.realpath(target)  # a link to a file stays one
        temporary = f"{real}.{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            with open(temporary, "xb") as file:
                file.write(data)
            if os.path.exists(real):
                shutil.copymode(real, temporary)
            os.replace(temporary, real)
        except OSError as error:
            raise OSError(error.errno, error.strerror, target) from None
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)


def show(weights: ArrayLike, tokens: Union[str, Sequence[str], None] = None, *,
         keys: Union[str, Sequence[str], None] = None, view: str = "map", dark: bool = False,
         title: Optional[str] = None) -> Picture:
    """A picture of attention weights, which a notebook displays; .svg is its text, .save("w.svg") writes a file.

    weights are (q_len, kv_len) or (heads, q_len, kv_len), also with a batch of 1 in front. tokens are labels of the
    queries and, without keys, of the keys: a list of words, or a str that is split at blanks. view is "map", a cell for
    each weight, or "lines" from queries to keys.

    >>> print(show([[1, 0], [0.5, 0.5]], "Nice day"))  # doctest: +NORMALIZE_WHITESPACE
            Nice day
      Nice ████
      day  ▒▒▒▒ ▒▒▒▒
      0 [ ░▒▓█] 1
      rows: queries, columns: keys
    >>> show([[1, 0], [0.5, 0.5]], "Nice day", view="lines").save("day.svg")  # doctest: +SKIP
    """
    _, (a,) = _floats(("weights",), (weights,), 2, _STEP_TYPES)
    if a.ndim == 4 and a.shape[0] != 1:
        raise ValueError(f"{_show('weights', a)} has {a.shape[0]} batches: choose one, as in weights[0]")
    if a.ndim > 4:
        raise ValueError(f"{_show('weights', a)} has too many dimensions: at most heads, queries and keys are drawn")
    if not isinstance(view, str) or view not in _VIEWS:
        raise ValueError(f"view must be 'map' or 'lines', not {_brief(view)}")
    name, labels = ("tokens", tokens) if keys is None else ("keys", keys)
    return Picture((a[0] if a.ndim == 4 else a).copy(), _words("tokens", tokens, a, -2), _words(name, labels, a, -1),
                   None if title is None else _text("title", title), _VIEWS.index(view), _flag("dark", dark))
