// SPDX-License-Identifier: MIT-0
// Runs commands of attention.c, each in an instance of its own, so that one that fails leaves nothing behind. The
// first message is the module; the others are {args, files: {name: bytes}}. Each is answered by {error, files};
// before that, {lines} tells how many lines are printed so far. What is printed is a file, too: 'stdout'.
'use strict';

let module;

function runCommand(args, files, progress) {
    const printed = {1: [], 2: []};
    const written = {};
    let instance, lines = 0;
    const bytes = (at, size) => new Uint8Array(instance.exports.memory.buffer, at, size);
    const word = (at, value) => new DataView(instance.exports.memory.buffer).setUint32(at, value, true);
    const path = (at) => {
        const all = bytes(at);
        return new TextDecoder().decode(all.subarray(0, all.indexOf(0)));
    };
    const joined = (parts) => {
        const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
        parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
        return whole;
    };
    // What WASI calls the arguments and the environment: pointers to strings.
    const strings = (list) => {
        const texts = list.map((text) => new TextEncoder().encode(text + '\0'));
        return {
            sizes(count, size) {
                word(count, texts.length);
                word(size, joined(texts).length);
                return 0;
            },
            get(pointers, at) {
                texts.forEach((text, i) => {
                    word(pointers + 4 * i, at);
                    bytes(at).set(text);
                    at += text.length;
                });
                return 0;
            },
        };
    };
    const given = strings(['attn', ...args]), environment = strings([]);
    const imports = {
        page: {
            page_size: (at) => Object.hasOwn(files, path(at)) ? files[path(at)].length : -1,
            page_read: (at, to) => bytes(to).set(files[path(at)]),
            page_write: (at, head, headSize, body, bodySize) => {
                written[path(at)] = joined([bytes(head, headSize), bytes(body, bodySize)]);
            },
        },
        wasi_snapshot_preview1: {
            args_sizes_get: given.sizes,
            args_get: given.get,
            environ_sizes_get: environment.sizes,
            environ_get: environment.get,
            fd_write(fd, vectors, count, size) {
                const view = new DataView(instance.exports.memory.buffer);
                let total = 0;
                for (let i = 0; i < count; i++) {
                    const length = view.getUint32(vectors + 8 * i + 4, true);
                    const part = bytes(view.getUint32(vectors + 8 * i, true), length).slice();
                    printed[fd].push(part);
                    total += length;
                    lines += part.filter((byte) => byte === 10).length;
                }
                word(size, total);
                progress(lines);
                return 0;
            },
            // A terminal, so that each line is written when it is complete.
            fd_fdstat_get(fd, at) {
                bytes(at, 24).fill(0)[0] = 2;
                return 0;
            },
            fd_close: () => 0,
            fd_seek: () => 70, // "invalid seek"
            proc_exit(status) {
                throw {status};
            },
        },
    };
    instance = new WebAssembly.Instance(module, imports);
    let error = '';
    try {
        instance.exports._start();
    } catch (thrown) {
        if (!('status' in thrown)) error = `The computation failed: ${thrown.message}`;
        else if (thrown.status) error = new TextDecoder().decode(joined(printed[2])).replace(/^attn: /, '').trim();
    }
    if (error) return {error};
    written.stdout = joined(printed[1]);
    return {files: written};
}

onmessage = ({data}) => {
    if (data.module) {
        module = new WebAssembly.Module(data.module);
        return;
    }
    const reply = runCommand(data.args, data.files, (lines) => postMessage({lines}));
    postMessage(reply, Object.values(reply.files ?? {}).map((file) => file.buffer));
};
