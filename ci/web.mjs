// Tests the key page in Chromium: `node ci/web.mjs PROGRAM SCREENSHOTS`.
//
// Invites are created in the chat, and each registered key logs in there. Starts the server and the page in a
// temporary folder and stops both. Exits with an error at the first failure.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const require = createRequire(resolve("target/node/node_modules/x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [program, pictures] = process.argv.slice(2).map((path) => resolve(path));
mkdirSync(pictures, { recursive: true });
const home = mkdtempSync(join(tmpdir(), "ssh-chat-web-"));
const data = ["--data-dir", join(home, "data")];
const env = { HOME: home, PATH: process.env.PATH };

/** The maximum size of page, style sheet and headers together, in bytes. */
const MOST_BYTES = 30 * 1024;

/** Starts the program. `first` resolves to the first line it prints. */
function start(args) {
  const child = spawn(program, [...data, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const first = new Promise((done, failed) => {
    let out = "";
    child.stdout.on("data", (text) => {
      out += text;
      if (out.includes("Ctrl-C")) done(out.split("\n")[0]);
    });
    child.on("exit", (code) => failed(new Error(`the program exited (${code}):\n${log}`)));
  });
  return { child, first };
}

function run(command, ...args) {
  const ended = spawnSync(command, args, { env, encoding: "utf8" });
  assert.equal(ended.status, 0, ended.stderr);
  return ended.stdout;
}

function key(name) {
  const path = join(home, name);
  run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", `${name}@laptop`, "-f", path);
  return { path: `${path}.pub`, line: readFileSync(`${path}.pub`, "utf8"), secret: readFileSync(path, "utf8") };
}

/** The output of a command over SSH, with this user's key. */
function ssh(name, command) {
  const options = ["IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=no", "LogLevel=ERROR", `UserKnownHostsFile=${join(home, "known_hosts")}`];
  return run("ssh", "-F", "none", "-p", port, "-i", join(home, name), ...options.flatMap((option) => ["-o", option]), "anyone@127.0.0.1", command);
}

/** An invite code, created by an operator in the chat. */
const invite = () => ssh("operator", "invite").trim();

/** Fails on accessibility violations found by axe-core. */
async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
  const found = violations.map((v) => `${v.impact}: ${v.id} (${v.nodes.map((n) => n.target).join(", ")})`);
  assert.deepEqual(found, [], where);
}

/**
 * The sum of the page's layout shifts since it started to load. Call this before taking a full-page screenshot,
 * which resizes the page and so moves everything.
 */
const shifted = (page) => page.evaluate(async () => {
  let sum = 0;
  const add = (entries) => entries.forEach((entry) => (sum += entry.value));
  const observer = new PerformanceObserver((list) => add(list.getEntries()));
  observer.observe({ type: "layout-shift", buffered: true });
  await document.fonts.ready;
  // A frame's layout shifts are reported when the next one starts.
  for (let frames = 0; frames < 3; frames++) await new Promise(requestAnimationFrame);
  add(observer.takeRecords());
  return sum;
});

const send = (page) => page.getByRole("button", { name: "Register key" }).click();

async function fits(page, where) {
  const [wide, has] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= has, `${where}: ${wide} px wide in ${has}`);
}

const server = start(["--listen", "127.0.0.1:0", "--set", "access=allowlist", "--set", `operator_keys=${key("operator").line.trim()}`]);
const children = [server.child];
const complaints = [];
let browser, port;
try {
  port = (await server.first).split(":").pop();
  const page = start([
    "web", "--set", "web.listen=127.0.0.1:0", "--set", "host_name=chat.example.com",
    "--listen", `127.0.0.1:${port}`, "--set", "web.burst=1000",
  ]);
  children.push(page.child);
  const url = (await page.first).split(" ").pop();
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  await looks(url);
  await moves(url);
  await byKeyboard(url);
  await withoutScripts(url);
  assert.deepEqual(complaints, []);
  console.log(`The key page passes all checks; screenshots are in ${pictures}.`);
} finally {
  await browser?.close();
  for (const child of children) child.kill();
  rmSync(home, { recursive: true });
}

/** A page that records console messages and errors, such as violations of its content security policy. */
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (message) => {
    // Responses with an error status are logged, too.
    if (!message.text().includes("Failed to load resource")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return page;
}

/** Every state of the page, in both colour schemes, on a phone, a wide screen and a very small one. */
async function looks(url) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [360, 1440, 320]) {
      const page = await open({ colorScheme, viewport: { width, height: 800 }, reducedMotion: "reduce" });
      const shot = async (state) => {
        const name = `${state}-${colorScheme}-${width}`;
        await fits(page, name);
        await accessible(page, name);
        if (width > 320) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
      };
      let bytes = 0;
      page.on("response", async (response) => {
        bytes += (await response.body()).length + JSON.stringify(response.headers()).length;
      });
      await page.goto(url);
      assert.equal(await shifted(page), 0, "nothing moves while the page loads");
      await shot("form");
      assert.ok(bytes > 0 && bytes < MOST_BYTES, `${bytes} bytes`);
      for (const summary of await page.locator("summary").all()) await summary.click();
      await shot("help");

      const { secret, line } = key(`looks-${colorScheme}-${width}`);
      await page.getByLabel("Invite code").fill("AAAAA-BBBBB");
      await page.getByLabel("Your name").fill("björn <b>");
      await page.getByLabel("Your public key").fill(secret);
      await send(page);
      await shot("wrong");
      const content = await page.content();
      assert.ok(content.includes("PRIVATE key") && !content.includes("b3BlbnNzaC1rZXk"));
      assert.equal(await page.getByLabel("Your name").inputValue(), "björn <b>", "typed values are kept");

      await page.getByLabel("Invite code").fill(invite());
      await page.getByLabel("Your name").fill(`${colorScheme}-${width}`);
      await page.getByLabel("Your public key").fill(line);
      await send(page);
      await page.getByRole("heading", { name: "Welcome" }).waitFor();
      await shot("in");
      await page.context().close();
    }
  }
}

/** Checks that a layout shift is detected. */
async function moves(url) {
  const page = await open({});
  await page.goto(url);
  await page.evaluate(() => {
    const frame = () => new Promise(requestAnimationFrame);
    return frame().then(frame).then(() => (document.body.style.marginTop = "200px"));
  });
  assert.ok(await shifted(page) > 0, "a layout shift is detected");
  await page.context().close();
}

/** Opens an invite link and uses only the keyboard. */
async function byKeyboard(url) {
  const page = await open({});
  const code = invite();
  await page.goto(`${url}#${code}`);
  assert.equal(await page.getByLabel("Invite code").inputValue(), code, "the link fills in the code");
  assert.equal(new URL(page.url()).hash, "", "and removes it from the address");
  const focused = () => page.evaluate(() => {
    const { id, hash, type } = document.activeElement;
    return id || hash?.slice(1) || type;
  });
  for (const expected of ["code", "name", "help", "key", "file", "submit"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(), expected);
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(ring, "none", `${expected} has a visible focus`);
  }
  await page.getByLabel("Your name").focus();
  await page.keyboard.type("guest-me");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.insertText(key("keyboard").line);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByText("are given to guests").waitFor();
  assert.equal(await focused(), "name", "the focus is on the invalid field");
  assert.match(await page.title(), /^Error:/);
  await page.keyboard.press("Control+A");
  await page.keyboard.type("keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Welcome" }).waitFor();
  await page.getByText("SHA256:").first().waitFor();
  assert.match(ssh("keyboard", "whoami"), /^keyboard /, "the pasted key logs in with that name");
  await page.context().close();
}

/** Uploads a file, with scripts disabled. */
async function withoutScripts(url) {
  const page = await open({ javaScriptEnabled: false });
  const { path, line } = key("plain");
  const code = invite();
  await page.goto(`${url}#${code}`);
  assert.equal(await page.getByLabel("Invite code").inputValue(), "");
  await page.getByLabel("Invite code").fill("wrong");
  await page.getByLabel("Your name").fill("plain");
  await page.getByLabel("or upload the file").setInputFiles(path);
  await send(page);
  await page.getByText("Invalid invite code").waitFor();
  assert.equal(await page.getByLabel("Your public key").inputValue(), line, "the file's contents are kept");
  await page.getByLabel("Invite code").fill(code);
  await send(page);
  await page.getByRole("heading", { name: "Welcome" }).waitFor();
  // Submits the same form again, as a reload or a second click does.
  await page.reload();
  await page.getByRole("heading", { name: "Welcome" }).waitFor();
  assert.match(ssh("plain", "whoami"), /^plain /, "the key in the file logs in with that name");
  await page.context().close();
}
