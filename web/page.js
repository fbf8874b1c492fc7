// SPDX-License-Identifier: MIT-0
// The page: controls make the arguments of a command of attn; what it writes, .npy arrays and an SVG, is shown.

const $ = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
        else if (value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
}

// ---------------------------------------------------------------- attention.h

const module = Uint8Array.from(atob($('module').textContent), (c) => c.charCodeAt(0));
const workerUrl = URL.createObjectURL(new Blob([$('worker').textContent], {type: 'text/javascript'}));

// Runs commands one after the other; `progress` gets the number of lines printed.
function attnWorker(progress) {
    const worker = new Worker(workerUrl);
    worker.postMessage({module});
    return (args, files = {}) => new Promise((resolve) => {
        worker.onerror = (event) => resolve({
            error: `This browser cannot run the page, which needs WebAssembly with SIMD: ${event.message}`});
        worker.onmessage = ({data}) => 'lines' in data ? progress(data.lines) : resolve(data);
        worker.postMessage({args, files});
    });
}

// An array as attn writes it: float32, little-endian, in C order.
function npy(bytes) {
    const start = 10 + (bytes[8] | bytes[9] << 8);
    const header = new TextDecoder('latin1').decode(bytes.subarray(0, start));
    const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((n) => n.trim()).map(Number);
    return {shape, values: new Float32Array(bytes.buffer, bytes.byteOffset + start)};
}

// ---------------------------------------------------------------------- state

// What the fragment of the address holds; texts, as in the controls. `head` and `row` are what is looked at.
const defaults = {sentence: 'The cat sat on the mat', dim: '8', heads: '2', seed: '1', temperature: '1', causal: '',
    left: '', right: '', step: 'weights', head: '0', row: '0'};
const looks = ['step', 'head', 'row'];
const controls = Object.keys(defaults).filter((key) => !looks.includes(key));
const dark = matchMedia('(prefers-color-scheme: dark)');

let state = {...defaults};
let projections = {}; // files for wq, wk, wv: {name, bytes}
let weights = null; // a file of attention weights, shown instead of the sentence's
let result = null; // {arrays, files, labels, svg} of this state

function readControls() {
    const read = {};
    for (const key of controls) read[key] = $(key).type === 'checkbox' ? ($(key).checked ? '1' : '') : $(key).value;
    return read;
}

function writeControls() {
    for (const key of controls) {
        if ($(key).type === 'checkbox') $(key).checked = state[key] !== '';
        else if ($(key).value !== state[key]) $(key).value = state[key];
    }
}

function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const read = Object.fromEntries(Object.entries(defaults).map(([key, value]) => [key, given.get(key) ?? value]));
    return {...read, causal: read.causal === '1' ? '1' : ''};
}

function writeAddress() {
    const changed = Object.entries(state).filter(([key, value]) => value !== defaults[key]);
    history.replaceState(null, '', '#' + new URLSearchParams(changed));
}

const ownNames = ['wq', 'wk', 'wv'];

// The command that computes a state, without what says where results go.
function argumentsOf(wanted) {
    const args = ['sentence'];
    const given = ownNames.filter((name) => projections[name]);
    if (!given.length) args.push('--dim', wanted.dim);
    args.push('--heads', wanted.heads, '--seed', wanted.seed);
    for (const name of given) args.push('--' + name, projections[name].name);
    if (wanted.causal) args.push('--causal');
    if (wanted.left !== '' || wanted.right !== '') args.push('--window', `${wanted.left || -1},${wanted.right || -1}`);
    if (wanted.temperature !== '1') args.push('--temperature', wanted.temperature);
    return args;
}

const quoted = (word) => /^[\w.,:\/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

// -------------------------------------------------------------------- computing

const compute = attnWorker(() => {});

// In the words of the controls, not of the command line; the control is marked.
function explain(error) {
    const [, option, rest] = /^--([a-z]+): (.*)$/s.exec(error) ?? [null, null, error];
    const control = option === 'window' ? 'left' : option ?? (rest.startsWith('sentence needs') ? 'sentence' : null);
    const label = control && document.querySelector(`label[for="${control}"]`);
    if (label) {
        $(control).setAttribute('aria-invalid', 'true');
        $(control).setAttribute('aria-errormessage', 'error');
    }
    const text = rest.replace(/ \(see attn .*\)$/, '').replace(/^sentence needs/, 'The sentence needs')
        .replace(/^'' is not .*/, 'is not a number');
    return (label && option ? `${label.firstChild.textContent}: ${text}` : text) + (/[.!?]$/.test(text) ? '' : '.');
}

function complain(text) {
    $('error').textContent = text;
}

// Either all of it succeeds, or nothing that is shown changes. Returns whether it did.
async function attempt(wanted) {
    for (const key of controls) $(key).removeAttribute('aria-invalid');
    const look = dark.matches ? ['--dark'] : [];
    const files = Object.fromEntries([weights, ...Object.values(projections)].filter((file) => file)
        .map((file) => [file.name, file.bytes]));
    const words = wanted.sentence.split(/[ \t\r\n]+/).filter((word) => word);
    let reply, labels = {queries: words, keys: words};
    if (weights) {
        reply = await compute(['plain', '--weights', weights.name, '-o', 'A-weights.npy'], files);
        if (!reply.error) {
            const made = reply.files;
            const [queries, keys] = npy(made['A-weights.npy']).shape.slice(-2);
            const labelled = queries === words.length && keys === words.length;
            const positions = (n) => Array.from({length: n}, (_, i) => String(i));
            if (!labelled) labels = {queries: positions(queries), keys: positions(keys)};
            reply = await compute(['heatmap', '--weights', weights.name, '-o', '-', ...look,
                ...labelled ? ['--tokens', wanted.sentence] : []], files);
            if (!reply.error) reply.files['A-weights.npy'] = made['A-weights.npy'];
        }
    } else {
        reply = await compute([...argumentsOf(wanted), '--arrays', 'A', '--svg', '-', ...look, '--', wanted.sentence],
            files);
    }
    if (reply.error) {
        complain(explain(reply.error));
        return false;
    }
    complain('');
    const arrays = {};
    for (const [name, bytes] of Object.entries(reply.files))
        if (name.endsWith('.npy')) arrays[name.slice(2, -4)] = npy(bytes);
    state = {...state, ...wanted}; // what is looked at may have changed meanwhile
    result = {arrays, labels, files: reply.files, svg: new TextDecoder().decode(reply.files['-'])};
    show();
    return true;
}

// The latest of the states wanted while one is computed; those between are never shown.
let waiting = null, busy = null;
function request(wanted) {
    waiting = wanted;
    busy ??= (async () => {
        let last = true;
        while (waiting) {
            const next = waiting;
            waiting = null;
            $('panel').setAttribute('aria-busy', 'true');
            last = await attempt(next);
        }
        $('panel').removeAttribute('aria-busy');
        busy = null;
        return last;
    })();
    return busy;
}

// --------------------------------------------------------------------- showing

const MOST_ROWS = 64, MOST_COLUMNS = 64;

// As printf's %.3f writes it: halves, which float32 can have exactly, to even.
function three(x) {
    if (Number.isNaN(x)) return 'NaN';
    if (!Number.isFinite(x)) return x < 0 ? '−∞' : '∞';
    const rounded = Math.abs(x * 1000 % 1) === 0.5 ? 2 * Math.round(x * 500) / 1000 : x;
    return rounded.toFixed(3).replace('-', '−');
}

const several = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;

// A head's matrix: its numbers, rows and columns.
function matrix(name, head) {
    const {shape, values} = result.arrays[name];
    const [rows, columns] = shape.slice(-2);
    const from = shape.length === 3 ? head * rows * columns : 0;
    return {rows, columns, at: (row, column) => values[from + row * columns + column]};
}

const headCount = () => result.arrays.weights.shape.length === 3 ? result.arrays.weights.shape[0] : 1;
const head = () => Number(state.head);
const row = () => Number(state.row);

// A table with a button for each row, which the arrow keys move between; rows of projections have none.
function table(name, title, rowLabels, columnLabels) {
    const m = matrix(name, head());
    const rows = Math.min(m.rows, MOST_ROWS), columns = Math.min(m.columns, MOST_COLUMNS);
    const cut = [rows < m.rows && `the first ${rows} of ${several(m.rows, 'row')}`,
        columns < m.columns && `the first ${columns} of ${several(m.columns, 'column')}`].filter((text) => text);
    const shape = ` (${m.rows}, ${m.columns})${cut.length ? ', ' + cut.join(', ') : ''}`;
    const numbers = (n) => Array.from({length: n}, (_, i) => i);
    const body = numbers(rows).map((i) => {
        const label = rowLabels ? element('button', {type: 'button', 'data-row': i}, rowLabels[i]) : String(i);
        const cells = numbers(columns).map((j) => {
            const value = m.at(i, j);
            return element('td', {class: value === -Infinity ? 'unseen' : null}, three(value));
        });
        return element('tr', {'data-row': rowLabels ? i : null}, element('th', {scope: 'row'}, label), ...cells);
    });
    return element('div', {class: 'scroll', role: 'region', tabindex: '0', 'aria-label': title},
        element('table', {'data-array': name},
            element('caption', {}, title, element('span', {}, shape)),
            element('thead', {}, element('tr', {}, element('td', {}),
                ...numbers(columns).map((j) => element('th', {scope: 'col'}, columnLabels?.[j] ?? String(j))))),
            element('tbody', {}, ...body)));
}

function picture() {
    const svg = document.importNode(new DOMParser().parseFromString(result.svg, 'image/svg+xml').documentElement, true);
    svg.style.minWidth = `${Math.min(svg.getAttribute('width'), 640)}px`; // below, it scrolls: numbers stay readable
    const cells = [...svg.querySelectorAll('rect')].filter((cell) => cell.querySelector('title'));
    const m = matrix('weights', 0);
    cells.forEach((cell, i) => {
        cell.dataset.head = Math.floor(i / (m.rows * m.columns));
        cell.dataset.row = Math.floor(i / m.columns) % m.rows;
    });
    return element('figure', {id: 'map', tabindex: '0', 'aria-label': 'Heat map'}, svg);
}

// The row that is looked at, key by key.
function inspected() {
    const {queries, keys} = result.labels;
    const m = matrix('weights', head()), scores = result.arrays.scores && matrix('scores', head());
    const shown = Math.min(m.columns, MOST_ROWS);
    const more = (headCount() > 1 ? `, head ${head()}` : '') +
        (shown < m.columns ? `, the first ${shown} of ${several(m.columns, 'key')}` : '');
    const rows = Array.from({length: shown}, (_, key) => {
        const weight = m.at(row(), key);
        const bar = element('span', {style: `width: ${Math.min(Math.max(weight, 0), 1) * 100 || 0}%`});
        return element('tr', {}, element('th', {scope: 'row'}, keys[key]),
            ...scores ? [element('td', {}, three(scores.at(row(), key)))] : [], element('td', {}, three(weight)),
            element('td', {class: 'bar', 'aria-hidden': 'true'}, bar));
    });
    const columns = ['Key', ...scores ? ['Score'] : [], 'Weight'].map((title) => element('th', {scope: 'col'}, title));
    return element('table', {id: 'row-table'},
        element('caption', {}, `What “${queries[row()]}” attends to`, element('span', {}, more)),
        element('thead', {}, element('tr', {}, ...columns, element('td', {'aria-hidden': 'true'}))),
        element('tbody', {}, ...rows));
}

function headChooser() {
    if (headCount() === 1) return '';
    const choice = element('select', {id: 'head', onchange: (event) => {
        state.head = event.target.value;
        showStep();
        $('head').focus();
    }}, ...Array.from({length: headCount()}, (_, i) => element('option', {value: i}, String(i))));
    choice.value = state.head;
    return element('label', {class: 'head', for: 'head'}, 'Head', choice);
}

const formula = (...parts) => element('p', {class: 'formula'}, ...parts);
const about = (text) => element('p', {class: 'about'}, text);

// What scores are divided by.
function scaling() {
    const root = `√${result.arrays.Q.shape.at(-1)}`;
    return state.temperature === '1' ? root : `(${state.temperature} ${root})`;
}

// Each step's title, and what it shows.
const steps = {
    tokens: ['Tokens', () => [
        formula('X'),
        about('Each word gets an embedding, a row of numbers made from its letters and the seed. Upper and lower ' +
            'case have the same.'),
        table('X', 'X', result.labels.queries),
    ]],
    qkv: ['Q, K, V', () => [
        headChooser(),
        formula(...['q', 'k', 'v'].flatMap((name) =>
            [`${name.toUpperCase()} = X W`, element('sub', {}, name), '\u2003'])),
        about('Three projections of every embedding: what a word looks for, what it offers to be found by, and what ' +
            'it passes on.' + (headCount() > 1 ? ' Each head has columns of its own.' : '')),
        element('div', {class: 'side'}, ...['Q', 'K', 'V'].map((name) => table(name, name, result.labels.queries))),
        element('details', {}, element('summary', {}, 'The projections'), ...['Wq', 'Wk', 'Wv'].map((name) =>
            table(name, name + (headCount() > 1 ? ', of all heads' : ''), null))),
    ]],
    scores: ['Scores', () => [
        headChooser(),
        formula(`S = Q Kᵀ / ${scaling()}`),
        about('How well each query, a row, matches each key, a column. −∞: a key that the query does not see.'),
        table('scores', 'S', result.labels.queries, result.labels.keys),
    ]],
    weights: ['Weights', () => [
        headChooser(),
        ...weights ? [about(`The attention weights in ${weights.name}.`)] : [
            formula('W = softmax(S)'),
            about('Each row of scores becomes weights that sum to 1: how much of each word’s value a word takes. ' +
                'Choose a row with the pointer, or with Tab and the arrow keys.')],
        element('div', {class: 'side'}, picture(), element('div', {id: 'inspector'})),
        table('weights', 'W', result.labels.queries, result.labels.keys),
    ]],
    output: ['Output', () => [
        headChooser(),
        formula('O = W V'),
        about('For each word, the values of all words, weighted by its row and summed' +
            (headCount() > 1 ? '; the heads side by side.' : '.')),
        element('div', {class: 'side'}, table('output', 'O', result.labels.queries),
            element('div', {id: 'inspector'})),
    ]],
};

function choose(toRow, toHead = state.head) {
    const other = String(toHead) !== state.head;
    state.row = String(toRow);
    state.head = String(toHead);
    if (other) showStep();
    else showRow();
}

function showRow() {
    for (const line of $('panel').querySelectorAll('tr[data-row]')) {
        const chosen = line.dataset.row === state.row;
        const button = line.querySelector('button');
        line.classList.toggle('chosen', chosen);
        button.setAttribute('aria-pressed', chosen);
        button.tabIndex = chosen || (row() >= MOST_ROWS && line.dataset.row === '0') ? 0 : -1;
    }
    $('inspector')?.replaceChildren(inspected());
    const svg = $('map')?.querySelector('svg');
    svg?.querySelector('.chosen')?.remove();
    const cells = svg?.querySelectorAll(`rect[data-head="${state.head}"][data-row="${state.row}"]`) ?? [];
    if (cells.length) {
        const [first, last] = [cells[0], cells[cells.length - 1]].map((cell) =>
            ['x', 'y', 'width', 'height'].map((name) => Number(cell.getAttribute(name))));
        const frame = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
        Object.entries({class: 'chosen', x: first[0] - 1, y: first[1] - 1, width: last[0] + last[2] - first[0] + 2,
            height: first[3] + 2, fill: 'none', stroke: '#e5484d', 'stroke-width': 2, 'pointer-events': 'none'})
            .forEach(([name, value]) => frame.setAttribute(name, value));
        svg.append(frame);
    }
    writeAddress();
}

// Said aloud where the keyboard moves to a row.
function sayRow() {
    const m = matrix('weights', head());
    let best = 0;
    for (let key = 1; key < m.columns; key++) if (m.at(row(), key) > m.at(row(), best)) best = key;
    $('live').textContent = `${result.labels.queries[row()]} attends most to ${result.labels.keys[best]}, ` +
        `${three(m.at(row(), best))}`;
}

function showStep() {
    const chosen = weights ? 'weights' : state.step;
    for (const tab of $('steps').children) {
        const selected = tab.dataset.step === chosen;
        tab.setAttribute('aria-selected', selected);
        tab.tabIndex = selected ? 0 : -1;
        tab.hidden = weights && !selected;
    }
    $('panel').setAttribute('aria-labelledby', `step-${chosen}`);
    $('panel').replaceChildren(...steps[chosen][1]());
    showRow();
}

let urls = [];
function saveLink(name, bytes, type) {
    const url = URL.createObjectURL(new Blob([bytes], {type}));
    urls.push(url);
    return element('a', {href: url, download: name}, name);
}

function showExports() {
    urls.forEach((url) => URL.revokeObjectURL(url));
    urls = [];
    const links = [saveLink('attention.svg', result.files['-'], 'image/svg+xml'),
        ...Object.entries(result.files).filter(([name]) => name.endsWith('.npy'))
            .map(([name, bytes]) => saveLink(name.slice(2), bytes, 'application/octet-stream'))];
    $('exports').replaceChildren('Save ', ...links.flatMap((link, i) => i ? [' · ', link] : [link]));
}

function showOwn() {
    const remove = (text, drop) => element('li', {}, text + ' ', element('button', {type: 'button', onclick: () => {
        drop();
        showOwn();
        request(readControls());
        $('files').focus();
    }, 'aria-label': `Remove: ${text}`}, 'Remove'));
    $('own').replaceChildren(...ownNames.filter((name) => projections[name])
        .map((name) => remove(`W${name[1]}: ${projections[name].name}`, () => delete projections[name])),
    ...weights ? [remove(`Weights: ${weights.name}`, () => weights = null)] : []);
}

function show() {
    const own = ownNames.some((name) => projections[name]);
    if (own) state.dim = String(result.arrays.Wq.shape[0]);
    for (const key of controls) $(key).disabled = weights ? key !== 'sentence' : key === 'dim' && own;
    const isBelow = (text, count) => /^\d+$/.test(text) && Number(text) < count;
    if (!isBelow(state.head, headCount())) state.head = '0';
    if (!isBelow(state.row, result.labels.queries.length)) state.row = '0';
    if (!Object.hasOwn(steps, state.step)) state.step = defaults.step;
    const focused = document.activeElement?.dataset?.row;
    showStep();
    if (focused) $('panel').querySelector(`button[data-row="${focused}"]`)?.focus();
    showExports();
    $('command-box').hidden = weights !== null;
    $('command').textContent = ['attn', ...argumentsOf(state), '--', state.sentence].map(quoted).join(' ');
    $('live').textContent = `${weights ? weights.name : several(result.labels.queries.length, 'word')}, ` +
        several(headCount(), 'head');
}

// -------------------------------------------------------------------- listening

$('controls').addEventListener('input', (event) => {
    if (event.target.id !== 'files') request(readControls());
});
$('controls').addEventListener('submit', (event) => event.preventDefault());
// What is shown changes its colours even if the controls now ask for what cannot be.
dark.addEventListener('change', () => request(state).then(() => request(readControls())));
addEventListener('hashchange', () => {
    request(readAddress()).then((fine) => fine && writeControls());
});

for (const [name, [title]] of Object.entries(steps))
    $('steps').append(element('button', {type: 'button', role: 'tab', id: `step-${name}`, 'data-step': name,
        'aria-controls': 'panel', onclick: () => {
            state.step = name;
            showStep();
        }}, title));

// The element that a key moves the focus to, of those in a line.
function moved(all, from, key, [back, on]) {
    const to = {[back]: from - 1, [on]: from + 1, Home: 0, End: all.length - 1}[key];
    return to === undefined ? null : all[Math.min(Math.max(to, 0), all.length - 1)];
}

$('steps').addEventListener('keydown', (event) => {
    const tabs = [...$('steps').children].filter((tab) => !tab.hidden);
    const tab = moved(tabs, tabs.indexOf(event.target), event.key, ['ArrowLeft', 'ArrowRight']);
    if (!tab) return;
    event.preventDefault();
    tab.click();
    tab.focus();
});

$('panel').addEventListener('keydown', (event) => {
    const buttons = [...event.target.closest('tbody')?.querySelectorAll('button[data-row]') ?? []];
    const button = moved(buttons, buttons.indexOf(event.target), event.key, ['ArrowUp', 'ArrowDown']);
    if (!buttons.includes(event.target) || !button) return;
    event.preventDefault();
    button.focus();
});
$('panel').addEventListener('focusin', (event) => {
    if (!event.target.matches('button[data-row]')) return;
    choose(event.target.dataset.row);
    sayRow();
});
// Not where a pointer rests when something else comes to lie below it.
for (const moves of ['pointermove', 'pointerdown']) $('panel').addEventListener(moves, (event) => {
    const over = event.target.closest('[data-row]');
    if (over && (over.dataset.row !== state.row || (over.dataset.head ?? state.head) !== state.head))
        choose(over.dataset.row, over.dataset.head);
});

// All files or none: what was there before comes back if one of them will not do.
async function take(list) {
    if (!list.length) return;
    $('panel').setAttribute('aria-busy', 'true');
    const files = await Promise.all([...list].map(async (file) => {
        const bytes = await file.arrayBuffer().catch(() => null);
        return {name: file.name, bytes: bytes && new Uint8Array(bytes)};
    }));
    await busy;
    const unreadable = files.find((file) => !file.bytes); // a folder, or no longer there
    if (unreadable) {
        $('panel').removeAttribute('aria-busy');
        complain(`${unreadable.name} cannot be read.`);
        return;
    }
    const before = {projections, weights};
    projections = {...projections};
    weights = null;
    for (const file of files) {
        const which = /^w_?([qkv])([^a-z]|$)/i.exec(file.name);
        if (which) projections['w' + which[1].toLowerCase()] = file;
        else weights = file;
    }
    if (!await request(readControls())) ({projections, weights} = before);
    else writeControls();
    showOwn();
}

$('files').addEventListener('change', async () => {
    await take($('files').files);
    $('files').value = '';
});
addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
});
addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) document.body.classList.remove('dropping');
});
addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    take(event.dataTransfer.files);
});

// ---------------------------------------------------------------------- the bits

async function testBits() {
    const golden = $('golden').textContent.trim().split('\n');
    const run = attnWorker((lines) => {
        $('self-test').textContent = `Testing the bits… ${lines} of ${golden.length}`;
    });
    const {error, files} = await run(['hash']);
    const got = error ? [] : new TextDecoder().decode(files.stdout).trim().split('\n');
    const wrong = golden.filter((line, i) => line !== got[i]);
    $('hashes').textContent = got.join('\n');
    const count = `${golden.length - wrong.length} of ${golden.length} hashes.`;
    $('self-test').textContent = wrong.length === 0
        ? `✓ The bits are those of every other machine with unfused arithmetic: ${count}`
        : `✗ The bits are not those of other machines: ${count} ` +
            (error ?? `These differ: ${wrong.map((line) => line.split(' ')[0]).join(', ')}.`);
}

request(readAddress()).then(async (fine) => {
    if (!fine) { // what the address asks for cannot be shown, but something can
        const why = $('error').textContent;
        await request({...defaults});
        complain(why);
    }
    writeControls();
    testBits();
});
