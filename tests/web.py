# SPDX-License-Identifier: MIT-0
"""web.py - what the page of web/ promises, tested in a headless browser through WebDriver.

    python3 tests/web.py PAGE ATTN FOLDER CHROMIUM CHROMEDRIVER
    python3 tests/web.py PAGE ATTN FOLDER FIREFOX

ATTN is a program with the arithmetic of the page. Prints TAP; tests/web.sh runs it. What is compared is compared
exactly: there is no tolerance.
"""
import base64
import json
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

page, attn, folder, program, *driver = sys.argv[1:]
number = 0


def ok(passed, name, *details):
    global number
    number += 1
    print(f"{'' if passed else 'not '}ok {number} - {name}", flush=True)
    if not passed:
        print(*(f"# {line}" for detail in details for line in str(detail).splitlines()[:20]), sep="\n")


def same(got, wanted, name):
    ok(got == wanted, name, f"got    {got!r}"[:2000], f"wanted {wanted!r}"[:2000])


# --------------------------------------------------------------------- browser --

class Browser:
    """What both browsers do by the commands of WebDriver."""

    def run(self, script, *arguments):
        return self.call("ExecuteScript", script=script, args=arguments)

    def visit(self, url):
        self.call("Navigate", url=url)

    def find(self, selector):
        return self.call("FindElement", using="css selector", value=selector)

    def click(self, selector):
        self.call("ElementClick", self.find(selector))

    def type(self, selector, text):
        self.call("ElementSendKeys", self.find(selector), text=text)

    def act(self, kind, *actions):
        self.call("PerformActions", actions=[{"type": kind, "id": kind, "actions": actions}])

    def hover(self, selector):
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'nearest'})", selector)
        self.act("pointer", {"type": "pointerMove", "duration": 0, "origin": self.find(selector), "x": 0, "y": 0})

    def keys(self, *keys):
        names = {"Tab": "\ue004", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015",
                 "Home": "\ue011", "End": "\ue010", "Space": " "}
        self.act("key", *({"type": kind, "value": names[key]} for key in keys for kind in ("keyDown", "keyUp")))

    def wait(self, script, *arguments):
        """Until the script returns what is true, or a minute has passed; what it returned last."""
        end = time.monotonic() + 60
        value = self.run(script, *arguments)
        while not value and time.monotonic() < end:
            time.sleep(.05)
            value = self.run(script, *arguments)
        return value


class Chromium(Browser):
    """Through chromedriver."""
    PATHS = {"Navigate": "/url", "ExecuteScript": "/execute/sync", "FindElement": "/element",
             "ElementClick": "/element/{}/click", "ElementSendKeys": "/element/{}/value", "PerformActions": "/actions"}

    def __init__(self):
        self.process = subprocess.Popen([*driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            port = re.search(r"started successfully on port (\d+)", line)
            if port:
                break
        self.url = f"http://127.0.0.1:{port[1]}/session"
        options = {"binary": program, "prefs": {"download.default_directory": folder},
                   "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                            f"--user-data-dir={folder}/profile"]}
        capabilities = {"browserName": "chrome", "goog:chromeOptions": options,
                        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.url += "/" + self.ask("POST", "", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode(),
                                         {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()[:1000]) from error

    def call(self, command, element=None, **parameters):
        return self.ask("POST", self.PATHS[command].format(*(element or {}).values()), parameters)

    def devtools(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind):
        return self.ask("POST", "/se/log", {"type": kind})

    def prefer(self, scheme):
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}] if scheme else [])

    def resize(self, width):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def close(self):
        try:
            self.ask("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait()


class Firefox(Browser):
    """Through Marionette, the protocol of its own to which geckodriver translates."""
    SETTINGS = {"browser.download.dir": folder, "browser.download.folderList": 2,
                "browser.download.alwaysOpenPanel": False, "browser.shell.checkDefaultBrowser": False,
                "browser.helperApps.neverAsk.saveToDisk": "application/octet-stream,image/svg+xml",
                "datareporting.policy.dataSubmissionEnabled": False, "marionette.port": 0,
                "services.settings.server": "data:,"}

    def __init__(self):
        profile = os.path.join(folder, "profile")
        os.mkdir(profile)
        with open(os.path.join(profile, "user.js"), "w", encoding="utf-8") as file:
            for name, value in self.SETTINGS.items():
                file.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")
        self.process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", profile, "--marionette", "--remote-allow-system-access",
             "about:blank"], env={**os.environ, "HOME": folder}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port, end = os.path.join(profile, "MarionetteActivePort"), time.monotonic() + 60
        while not (os.path.exists(port) and os.path.getsize(port)):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{program} does not start")
            time.sleep(.05)
        with open(port, encoding="ascii") as file:
            self.socket = socket.create_connection(("127.0.0.1", int(file.read())), 120)
        self.stream = self.socket.makefile("rb")
        self.receive()
        self.number = 0
        self.ask("WebDriver:NewSession")
        self.resize(1280)

    def receive(self):
        size = b""
        while not size.endswith(b":"):
            size += self.stream.read(1)
        return json.loads(self.stream.read(int(size[:-1])))

    def ask(self, command, **parameters):
        self.number += 1
        message = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(message), message))
        _, number, error, result = self.receive()
        if number != self.number or error:
            raise RuntimeError(f"{command}: {error}")
        return result.get("value", result)

    def call(self, command, element=None, **parameters):
        return self.ask("WebDriver:" + command, **({"id": [*element.values()][0]} if element else {}), **parameters)

    def set(self, name, value):
        self.ask("Marionette:SetContext", value="chrome")
        self.run("Services.prefs.setIntPref(arguments[0], arguments[1])", name, value)
        self.ask("Marionette:SetContext", value="content")

    def prefer(self, scheme):
        self.set("layout.css.prefers-color-scheme.content-override", ["dark", "light", None].index(scheme))
        self.set("ui.prefersReducedMotion", 1 if scheme else 0)

    def resize(self, width):
        self.ask("WebDriver:SetWindowRect", width=width, height=900)

    def close(self):
        try:
            self.ask("Marionette:Quit", flags=["eForceQuit"])
        finally:
            self.process.wait()


browser = Chromium() if driver else Firefox()


def settled():
    """Until what was asked for is computed."""
    browser.wait("return !document.getElementById('panel').hasAttribute('aria-busy')")


def visit(fragment=""):
    browser.visit("about:blank")
    browser.visit("file://" + urllib.parse.quote(page) + fragment)
    browser.wait("return document.querySelector('#exports a')")
    settled()


def enter(control, value):
    """As if pasted over what is there: what would be computed between two keys is not."""
    browser.run("const c = document.getElementById(arguments[0]); c.focus(); c.select(); "
                "document.execCommand(arguments[1] ? 'insertText' : 'delete', false, arguments[1])", control, value)
    settled()


def step(name):
    browser.click(f"#step-{name}")


def text(selector):
    return browser.run("return document.querySelector(arguments[0])?.textContent", selector)


def table(selector):
    """The numbers of a table, and the labels of its rows."""
    rows = browser.run("return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map((row) => "
                       "[...row.querySelectorAll('th, td:not(.bar)')].map((cell) => cell.textContent))", selector)
    return [[cell.replace("\u2212", "-") for cell in row[1:]] for row in rows], [row[0] for row in rows]


def error():
    return text("#error")


def fragment():
    return browser.run("return location.hash")


# ------------------------------------------------------------------------ attn --

def run_attn(*arguments):
    done = subprocess.run([attn, *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode()


def npy(name):
    with open(os.path.join(folder, name), "rb") as file:
        data = file.read()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    shape = [int(n) for n in re.search(rb"'shape': \(([^)]*)\)", data)[1].split(b",") if n.strip()]
    return shape, struct.unpack(f"<{(len(data) - start) // 4}f", data[start:])


def matrix(name, head=0):
    """Rows of numbers as printf writes them, of one head."""
    shape, values = npy(name)
    rows, columns = shape[-2:]
    values = values[head * rows * columns if len(shape) == 3 else 0:]
    return [[f"{values[i * columns + j]:.3f}".replace("-inf", "-\u221e") for j in range(columns)] for i in range(rows)]


def write_npy(name, descr, shape, data, fortran=False):
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117) + "\n"
    with open(os.path.join(folder, name), "wb") as file:
        file.write(b"\x93NUMPY\x01\x00v\x00" + header.encode() + data)


def drop(*names):
    files = []
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            files.append([name, base64.b64encode(file.read()).decode()])
    browser.run("""
        const data = new DataTransfer(), like = {dataTransfer: data, bubbles: true, cancelable: true};
        for (const [name, bytes] of arguments[0])
            data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
        document.body.dispatchEvent(new DragEvent('dragover', like));
        document.body.dispatchEvent(new DragEvent('drop', like));""", files)
    settled()


def saves(name, wanted):
    """Does the link save the bytes of this file? A browser makes an empty file first, and is given half a minute.
    Chromium ignores the eleventh within a second, hence the pause: each has been saved before the next is asked for."""
    with open(os.path.join(folder, wanted), "rb") as file:
        data = file.read()
    path = os.path.join(folder, name)
    if os.path.exists(path):
        os.remove(path)
    time.sleep(.15)
    browser.click(f"#exports a[download='{name}']")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if os.path.exists(path):
            with open(path, "rb") as file:
                if file.read() == data:
                    return True
        time.sleep(.02)
    return False


ARRAYS = "X Wq Wk Wv Q K V scores weights output".split()


def check_state(name, head=0):
    """All that is shown and saved now, against the command that the page names."""
    words = shlex.split(text("#command"))
    printed = run_attn(*words[1:-2], "--arrays", "T", "--", words[-1])
    run_attn(*words[1:-2], "--svg", "T.svg", "--", words[-1])
    wrong = []
    for which, tables in {"tokens": ["X"], "qkv": ["Q", "K", "V", "Wq", "Wk", "Wv"], "scores": ["scores"],
                          "weights": ["weights"], "output": ["output"]}.items():
        step(which)
        for array in tables:
            of = head if array in ("Q", "K", "V", "scores", "weights") else 0
            if table(f"[data-array={array}]")[0] != matrix(f"T-{array}.npy", of):
                wrong.append(array)
    same(wrong, [], f"{name}: every step shows the numbers of {' '.join(words[:-1])}")
    wrong = [array for array in ARRAYS if not saves(f"{array}.npy", f"T-{array}.npy")]
    if not saves("attention.svg", "T.svg"):
        wrong.append("svg")
    same(wrong, [], f"{name}: the files that it saves have the bytes of attn's")
    step("weights")
    bands = [line.split()[1:] for line in printed.split("\nWeights")[head + 1].splitlines()
             if re.match(r"  \S+( +\d\.\d{3})+$", line)]
    count = npy("T-X.npy")[0][0]
    same([sum(bands[i::count], []) for i in range(count)], table("[data-array=weights]")[0],
         f"{name}: the weights are those that attn prints")


# ----------------------------------------------------------------------- tests --

def check_bits():
    global page
    script = "const s = document.getElementById('self-test').textContent; return s.startsWith('Testing') ? '' : s"
    hashes = run_attn("hash").strip().split("\n")
    said = browser.wait(script)
    ok(said.startswith("\u2713") and f"{len(hashes)} of {len(hashes)}" in said,
       "the page says that its bits are the published ones", said)
    same(text("#hashes").split("\n"), hashes, "... and shows what attn hash prints")
    real, page = page, os.path.join(folder, "a forged page.html")
    with open(real, encoding="utf-8") as file:
        source = file.read()
    with open(page, "w", encoding="utf-8") as file:
        file.write(source.replace("\ntiles_f32 ", "\ntiles_f32 0", 1))
    visit()
    said = browser.wait(script)
    ok(said.startswith("\u2717") and f"{len(hashes) - 1} of {len(hashes)}" in said and "tiles_f32" in said,
       "... and which one is not, if one is not", said)
    page = real


def check_sentences():
    check_state("as it opens")
    browser.run("document.getElementById('sentence').select()")
    browser.type("#sentence", "Der  Hund und die Katze d\u00f6sen")
    settled()
    same(table("[data-array=weights]")[1], "Der Hund und die Katze d\u00f6sen".split(),
         "typing a sentence shows its words")
    enter("dim", "12")
    enter("heads", "3")
    enter("seed", "-7")
    browser.click("#causal")
    settled()
    enter("left", "2")
    enter("temperature", "0.3")
    browser.type("#head", "2")
    same(fragment(), "#sentence=Der++Hund+und+die+Katze+d%C3%B6sen&dim=12&heads=3&seed=-7&temperature=0.3&causal=1"
                     "&left=2&head=2", "the address holds the state")
    check_state("all controls", head=2)
    step("scores")
    unseen = [[value == "-\u221e" for value in row] for row in table("[data-array=scores]")[0]]
    same(unseen, [[not i - 2 <= j <= i for j in range(6)] for i in range(6)],
         "causal, window: what is not seen is -inf")
    link = fragment()
    before = table("[data-array=scores]")
    visit(link)
    same((table("[data-array=scores]"), fragment()), (before, link), "a link shows the same")
    same([browser.run("return document.getElementById(arguments[0]).value", c) for c in ("dim", "heads", "seed")],
         ["12", "3", "-7"], "... and sets the controls")
    check_state("a link", head=2)
    visit("#sentence=" + urllib.parse.quote_plus("<img src=x onerror=alert(1)> & \u732b \U0001f408"))
    same(table("[data-array=weights]")[1][:2], ["<img", "src=x"], "a sentence of markup is text")
    check_state("a sentence of markup")
    visit("#sentence=" + "+".join(f"w{i}" for i in range(70)) + "&heads=1")
    rows = table("[data-array=weights]")[0]
    same((len(rows), len(rows[0]), len(table("#row-table")[0])), (64, 64, 64), "of 70 words, 64 are in tables")
    same((text("[data-array=weights] caption"), text("#row-table caption")),
         ("W (70, 70), the first 64 of 70 rows, the first 64 of 70 columns",
          "What \u201cw0\u201d attends to, the first 64 of 70 keys"), "... which say so")
    visit("#head=-1&row=1e9&step=constructor&causal=0")
    same((fragment(), table("#row-table")[1]), ("", "The cat sat on the mat".split()),
         "a link to what is not there shows the first of what is")


def check_rows():
    visit("#heads=2")
    def shown():
        head = int(browser.run("return document.getElementById('head').value"))
        row = int(browser.run("return document.querySelector('#panel tr.chosen').dataset.row"))
        numbers, keys = table("#row-table")
        fine = (keys == "The cat sat on the mat".split() and
                [n[1] for n in numbers] == matrix("T-weights.npy", head)[row] and
                [n[0] for n in numbers] == matrix("T-scores.npy", head)[row])
        frame = browser.run("const f = document.querySelector('#map .chosen'); "
                            "return f && [f.getAttribute('x'), f.getAttribute('y')]")
        return head, row, fine, frame

    run_attn(*shlex.split(text("#command"))[1:-2], "--arrays", "T", "The cat sat on the mat")
    browser.hover("#map rect[data-head='1'][data-row='3']")
    head, row, fine, frame = shown()
    same((head, row, fine), (1, 3, True), "the pointer on the map: its row, its head, their numbers")
    widths = browser.run("return [...document.querySelectorAll('#row-table .bar span')]"
                         ".map((bar) => bar.getAttribute('style'))")
    exact = npy("T-weights.npy")[1][36 + 3 * 6:36 + 4 * 6]
    same([float(re.fullmatch(r"width: (.*)%", width)[1]) for width in widths], [100 * x for x in exact],
         "... and bars as long as the weights")
    browser.hover("[data-array=weights] tr[data-row='5'] td")
    same(shown()[:3], (1, 5, True), "the pointer on a table's row")
    browser.run("document.querySelector('[data-array=weights] button[tabindex=\"0\"]').focus()")
    browser.keys("Up")
    same(shown()[:3], (1, 4, True), "the arrow keys on a row")
    ok(re.fullmatch(r"the attends most to \w+, 0\.\d{3}", text("#live")), "... which is said aloud", text("#live"))
    browser.keys("Home")
    same(shown()[:3], (1, 0, True), "... to the first row")
    browser.keys("End", "Down")
    same(shown()[:3], (1, 5, True), "... to the last")
    ok(shown()[3] != frame, "the map has a frame around the row", frame)
    browser.run("document.getElementById('step-tokens').focus(); document.getElementById('step-weights').focus()")
    browser.keys("Right")
    same(browser.run("return document.activeElement.id + document.querySelector('[aria-selected=true]').id"),
         "step-outputstep-output", "the arrow keys on the steps")
    same(shown()[:3], (1, 5, True), "... keep the row")
    browser.keys("Home")
    same(browser.run("return document.querySelector('[aria-selected=true]').id"), "step-tokens",
         "... to the first step")
    visit()
    browser.run("document.getElementById('sentence').focus()")
    reached = set()
    for _ in range(60):
        browser.keys("Tab")
        reached.add(browser.run("const a = document.activeElement; "
                                "return a.id || a.dataset?.row && 'row' || a.download || a.tagName"))
    missing = {"dim", "heads", "seed", "temperature", "causal", "left", "right", "files", "step-weights", "row", "head",
               "weights.npy", "SUMMARY"} - reached
    ok(not missing, "everything is reached with Tab", missing, reached)
    browser.run("document.getElementById('causal').focus()")
    browser.keys("Space")
    settled()
    same(table("[data-array=weights]")[0][0], ["1.000"] + ["0.000"] * 5, "a box is ticked by the keyboard")

def check_errors():
    visit("#heads=2")
    before = (table("[data-array=weights]"), fragment(), text("#command"))
    for control, value, wanted in (
            ("sentence", "", "The sentence needs at least one word."),
            ("heads", "0", "Heads: 0 is not between 1 and 1024."),
            ("heads", "3", "Heads: 3 does not divide the dimension 8."),
            ("heads", "", "Heads: is not a number."),
            ("dim", "1025", "Dimension: 1025 is not between 1 and 1024."),
            ("dim", "2.5", "Dimension: '2.5' is not an integer."),
            ("seed", "1e99", "Seed: '1e99' is not an integer."),
            ("temperature", "0", "Temperature: must be above 0, and neither too small nor too large."),
            ("temperature", "-1", "Temperature: must be above 0, and neither too small nor too large."),
            ("left", "-2", "Words before: -2 is not between -1 and ")):
        good = browser.run("return document.getElementById(arguments[0]).value", control)
        enter(control, value)
        said = error()
        invalid = browser.run("return [...document.querySelectorAll('form [id]:not(ul)')]"
                              ".filter((c) => getComputedStyle(c).borderTopWidth === '2px').map((c) => c.id)")
        marked = browser.run("return document.querySelector('[aria-invalid=true][aria-errormessage=error]')?.id")
        ok(said.startswith(wanted) and invalid == [control] and marked == control and
           before == (table("[data-array=weights]"), fragment(), text("#command")),
           f"{control} '{value}': {wanted}", said, invalid, marked)
        enter(control, good)
        if error():
            ok(False, "what is good again is no error", error())
    browser.run("const s = document.getElementById('sentence'); s.value = 'w '.repeat(2000); "
                "document.getElementById('dim').value = 64; document.getElementById('heads').value = 64; "
                "s.dispatchEvent(new Event('input', {bubbles: true}))")
    settled()
    ok(error().startswith("out of memory (1024000000 bytes") and before[0] == table("[data-array=weights]"),
       "a gigabyte of weights: out of memory, and nothing changes", error())
    visit("#heads=3")
    same((error(), len(table("[data-array=weights]")[0])), ("Heads: 3 does not divide the dimension 8.", 6),
         "a link that asks for what cannot be: why, and the sentence that the page opens with")


def check_files():
    visit("#heads=1")
    run_attn("sentence", "--dim", "6", "--seed", "9", "--arrays", "Own", "a b")
    projection = npy("Own-Wq.npy")[1]
    by_columns = [projection[i * 6 + j] for j in range(6) for i in range(6)]
    write_npy("Wq.npy", ">f8", "(6, 6)", struct.pack(">36d", *by_columns), fortran=True)
    write_npy("w_k.npy", "<f2", "(6, 6)", struct.pack("<36e", *projection))
    drop("Wq.npy", "w_k.npy")
    same((error(), text("#own")), ("", "Wq: Wq.npy RemoveWk: w_k.npy Remove"),
         "projections dropped: big-endian, float16")
    same(browser.run("const d = document.getElementById('dim'); return [d.value, d.disabled]"), ["6", True],
         "... and the dimension is theirs")
    check_state("own projections")
    same(matrix("T-Wq.npy"), matrix("Own-Wq.npy"), "... the elements in their order")
    state = (text("#own"), table("[data-array=weights]"), fragment())
    write_npy("Wv.npy", "<f4", "(2, 6, 3)", struct.pack("<36f", *projection))
    write_npy("wk.npy", "<f4", "(4, 9)", struct.pack("<36f", *projection))
    write_npy("W-integers.npy", "<i4", "(6, 6)", struct.pack("<36i", *range(36)))
    write_npy("W4.npy", "<f4", "(1, 1, 6, 6)", struct.pack("<36f", *projection))
    write_npy("huge.npy", "<f4", "(1000000, 1000000)", b"")
    with open(os.path.join(folder, "text.npy"), "w", encoding="ascii") as file:
        file.write("no array")
    for name, wanted in (("Wv.npy", "Wv.npy: has shape (2, 6, 3), but must have shape (dim, columns)."),
                         ("wk.npy", "wk.npy: the number of rows is 4 (shape (4, 9)), but 6 in Wq.npy (shape (6, 6))."),
                         ("W-integers.npy", "W-integers.npy: has element type int32, but must have floats"),
                         ("W4.npy", "W4.npy: has shape (1, 1, 6, 6), but must have shape (S, T) or (H, S, T)."),
                         ("huge.npy", "huge.npy: the header describes more elements than fit in memory."),
                         ("text.npy", "text.npy: is not an .npy file (bad magic).")):
        drop(name)
        ok(error().startswith(wanted) and state == (text("#own"), table("[data-array=weights]"), fragment()),
           f"{name} dropped: an error, and nothing changes", error())
    browser.run("File.prototype.read = File.prototype.arrayBuffer; "
                "File.prototype.arrayBuffer = () => Promise.reject(new DOMException('', 'NotFoundError'))")
    drop("Wq.npy")
    browser.run("File.prototype.arrayBuffer = File.prototype.read")
    same((error(), text("#own"), fragment()), ("Wq.npy cannot be read.", state[0], state[2]),
         "what cannot be read, as a folder, dropped: an error, and nothing changes")
    browser.click("#own button")
    settled()
    same((error(), text("#own")), ("", "Wk: w_k.npy Remove"), "a projection is removed")

    visit("#heads=1")
    run_attn("sentence", "--heads", "2", "--arrays", "Own", "a b c")
    shutil.copy(os.path.join(folder, "Own-weights.npy"), os.path.join(folder, "mine.npy"))
    browser.type("#files", os.path.join(folder, "mine.npy"))
    browser.wait("return document.getElementById('own').textContent")
    settled()
    same(table("[data-array=weights]"), (matrix("mine.npy"), ["0", "1", "2"]),
         "weights chosen: heads, positions for words")
    run_attn("heatmap", "--weights", "mine.npy", "-o", "T.svg")
    ok(saves("attention.svg", "T.svg"), "... the map is that of attn heatmap")
    browser.hover("#map rect[data-head='1'][data-row='2']")
    same([row[0] for row in table("#row-table")[0]], matrix("mine.npy", 1)[2],
         "... the pointer on a row of the second head")
    enter("sentence", "x y z")
    same(table("[data-array=weights]")[1], ["x", "y", "z"], "... and a sentence of as many words labels them")
    run_attn("heatmap", "--weights", "mine.npy", "--tokens", "x y z", "-o", "T.svg")
    ok(saves("attention.svg", "T.svg"), "... also in the map")
    write_npy("odd.npy", "<f4", "(3, 2)", struct.pack("<6f", .0625, .1875, .3125, -.0625, float("nan"), float("inf")))
    drop("odd.npy")
    same(table("[data-array=weights]")[0], [["0.062", "0.188"], ["0.312", "-0.062"], ["NaN", "\u221e"]],
         "halves are rounded to even, as by printf; negative weights, NaN and infinity are shown")
    browser.click("#own button")
    settled()
    same((table("[data-array=weights]")[1], browser.run("return document.getElementById('heads').disabled")),
         (["x", "y", "z"], False), "removed, the sentence is back")


CONTRAST = """
    const channels = (colour) => colour.startsWith('#') ? [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16))
        : colour.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => channels(colour).slice(0, 3).map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => {
        const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };
    const ground = (element) => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (channels(colour)[3] !== 0) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const found = [];
    for (const element of document.querySelectorAll('body *:not(script, style, option)')) {
        const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!element.checkVisibility() || element.closest('[aria-hidden=true]')) continue;
        const svg = element.closest('svg');
        if (svg && element.localName === 'text') {
            const box = element.getBBox(), x = box.x + box.width / 2, y = box.y + box.height / 2;
            const under = [...svg.querySelectorAll('rect:not(.chosen)')].filter((rect) => {
                const r = rect.getBBox();
                return x >= r.x && x <= r.x + r.width && y >= r.y && y <= r.y + r.height;
            });
            const fill = (element.hasAttribute('transform') ? under[0] : under.pop()).getAttribute('fill');
            found.push([contrast(getComputedStyle(element).fill, fill), 'svg ' + element.textContent]);
        } else if (!svg && (text || element.localName === 'input')) {
            const colour = (part) => getComputedStyle(element, part).color;
            found.push([contrast(colour(null), ground(element)), element.outerHTML.slice(0, 80)]);
            if (element.placeholder) found.push([contrast(colour('::placeholder'), ground(element)), 'placeholder']);
        }
    }
    return found;"""


def check_access():
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        visit("#causal=1&heads=2&row=3&dim=16&temperature=0.4")
        browser.run("document.querySelectorAll('details').forEach((d) => d.open = true)")
        found = []
        for name in ("tokens", "qkv", "scores", "weights", "output"):
            step(name)
            found += browser.run(CONTRAST)
        enter("heads", "3")
        found += [line for line in browser.run(CONTRAST) if 'id="error"' in line[1]]
        low = [line for line in found if line[0] < 4.5]
        missing = [start for start in ("svg 0.", '<p id="error"', "placeholder", '<td class="unseen"', "<button")
                   if not any(line[1].startswith(start) for line in found)]
        ok(not low and not missing, f"{scheme}: text has a contrast of at least 4.5 ({len(found)} texts)", low[:10],
           missing)
        ground = browser.run("return getComputedStyle(document.body).backgroundColor")
        same(ground, "rgb(255, 255, 255)" if scheme == "light" else "rgb(13, 17, 23)", f"{scheme}: its own ground")
        if scheme == "dark":
            step("weights")
            words = shlex.split(text("#command"))
            run_attn(*words[1:-2], "--dark", "--svg", "T.svg", "--", words[-1])
            ok(saves("attention.svg", "T.svg"), "dark: the map is that of attn --dark")
    why = error()
    browser.prefer("light")
    ground = "return document.querySelector('#map rect').getAttribute('fill')"
    browser.wait(f"{ground} === '#ffffff' && document.getElementById('error').textContent")
    same((browser.run(ground), error()), ("#ffffff", why), "the map changes with the system, and an error stays")
    same(browser.run("return getComputedStyle(document.querySelector('.bar span')).transitionDuration"), "0s",
         "nothing moves where that is not wanted")
    browser.prefer(None)
    for width in (1280, 400):
        browser.resize(width)
        for name in ("weights", "qkv", "output"):
            step(name)
            size = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
            ok(size[0] <= size[1], f"{name}, {size[1]} wide: only tables and pictures scroll sideways", size)
    browser.resize(1280)


def check_names():
    visit()
    nodes = []
    for name in ("weights", "qkv", "tokens", "output", "scores"):
        step(name)
        nodes += browser.devtools("Accessibility.getFullAXTree")["nodes"]
    roles = {"textbox", "spinbutton", "checkbox", "combobox", "button", "tab", "tabpanel", "link", "table", "region",
             "image", "img", "figure", "DisclosureTriangle", "alert", "status"}
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes
             if not n["ignored"] and n.get("role", {}).get("value") in roles]
    seen = {role for role, _ in named}
    nameless = {role for role, name in named if not name} - {"alert", "status"}
    missing = roles - seen - {"image", "img"}
    ok(not missing and {"image", "img"} & seen and not nameless, "every control, table and picture has a name",
       nameless, missing)


def check_alone():
    log = browser.log("performance")
    urls = [json.loads(entry["message"])["message"] for entry in log]
    urls = {message["params"]["request"]["url"] for message in urls if message["method"] == "Network.requestWillBeSent"}
    remote = {url for url in urls if not re.match("(file|blob|data|about|chrome):", url)}
    ok(any(url.startswith("file:") for url in urls) and not remote, "nothing is asked of a network", remote)
    files = {url for url in urls if url.startswith("file:") and not url.split("#")[0].endswith(".html")}
    ok(not files, "... nor of another file", files)
    said = browser.log("browser")
    ok(not said, "the browser has nothing to complain of", said)


try:
    visit()
    check_bits()
    visit()
    check_sentences()
    check_rows()
    check_errors()
    check_files()
    check_access()
    if driver:  # only Chromium tells
        check_names()
        check_alone()
finally:
    browser.close()
print(f"1..{number}")
