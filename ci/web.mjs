// Walks through the key page in Chromium: `node ci/web.mjs PROGRAM PICTURES`.
//
// Invites are made in the chat, and who registers a key comes in with it. Starts the server and the
// page beside it in a folder of its own, and ends both. Whatever is not as it should be ends it with
// an error.

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

/** The most that page, style sheet and headers may take together, in bytes. */
const MOST_BYTES = 30 * 1024;

/** Starts the program, and waits for the first line that it prints. */
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
    child.on("exit", (code) => failed(new Error(`it ended (${code}):\n${log}`)));
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

/** What somebody with this key is told by the chat, over SSH. */
function ssh(name, command) {
  const options = ["IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=no", "LogLevel=ERROR", `UserKnownHostsFile=${join(home, "known_hosts")}`];
  return run("ssh", "-F", "none", "-p", port, "-i", join(home, name), ...options.flatMap((option) => ["-o", option]), "anyone@127.0.0.1", command);
}

/** An invite's code, from an operator in the chat. */
const invite = () => ssh("operator", "invite").trim();

/** What axe-core finds that matters. */
async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
  const found = violations.map((v) => `${v.impact}: ${v.id} (${v.nodes.map((n) => n.target).join(", ")})`);
  assert.deepEqual(found, [], where);
}

/**
 * How far things have moved since the page began to load (the sum of its layout shifts). To be asked
 * before a picture of the whole page is taken: that resizes the page, and everything moves.
 */
const shifted = (page) => page.evaluate(async () => {
  let sum = 0;
  const add = (entries) => entries.forEach((entry) => (sum += entry.value));
  const observer = new PerformanceObserver((list) => add(list.getEntries()));
  observer.observe({ type: "layout-shift", buffered: true });
  await document.fonts.ready;
  // What moves in a frame is known when the next one begins.
  for (let frames = 0; frames < 3; frames++) await new Promise(requestAnimationFrame);
  add(observer.takeRecords());
  return sum;
});

const send = (page) => page.getByRole("button", { name: "Register this key" }).click();

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
  console.log(`The key page is as it should be; its pictures are in ${pictures}.`);
} finally {
  await browser?.close();
  for (const child of children) child.kill();
  rmSync(home, { recursive: true });
}

/** A page whose complaints are kept, such as those about what its policy forbids. */
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (message) => {
    // An answer that says no is one of those, too.
    if (!message.text().includes("Failed to load resource")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return page;
}

/** Every state of the page, in both colours, on a phone, a wide screen and a very small one. */
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
      assert.equal(await shifted(page), 0, "nothing moves while it loads");
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
      assert.equal(await page.getByLabel("Your name").inputValue(), "björn <b>", "what was typed is kept");

      await page.getByLabel("Invite code").fill(invite());
      await page.getByLabel("Your name").fill(`${colorScheme}-${width}`);
      await page.getByLabel("Your public key").fill(line);
      await send(page);
      await page.getByRole("heading", { name: "Come in" }).waitFor();
      await shot("in");
      await page.context().close();
    }
  }
}

/** What looks for moves finds one. */
async function moves(url) {
  const page = await open({});
  await page.goto(url);
  await page.evaluate(() => {
    const frame = () => new Promise(requestAnimationFrame);
    return frame().then(frame).then(() => (document.body.style.marginTop = "200px"));
  });
  assert.ok(await shifted(page) > 0, "a page that moves is noticed");
  await page.context().close();
}

/** An invite's link, then nothing but keys. */
async function byKeyboard(url) {
  const page = await open({});
  const code = invite();
  await page.goto(`${url}#${code}`);
  assert.equal(await page.getByLabel("Invite code").inputValue(), code, "the link fills it in");
  assert.equal(new URL(page.url()).hash, "", "and is no longer in the address");
  const focused = () => page.evaluate(() => {
    const { id, hash, type } = document.activeElement;
    return id || hash?.slice(1) || type;
  });
  for (const expected of ["code", "name", "help", "key", "file", "submit"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(), expected);
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(ring, "none", `${expected} shows that it has the focus`);
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
  assert.equal(await focused(), "name", "at what has to be changed");
  assert.match(await page.title(), /^Not yet/);
  await page.keyboard.press("Control+A");
  await page.keyboard.type("keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Come in" }).waitFor();
  await page.getByText("SHA256:").first().waitFor();
  assert.match(ssh("keyboard", "whoami"), /^keyboard /, "the key that was pasted gets in, under that name");
  await page.context().close();
}

/** A file that is chosen, and no script at all. */
async function withoutScripts(url) {
  const page = await open({ javaScriptEnabled: false });
  const { path, line } = key("plain");
  const code = invite();
  await page.goto(`${url}#${code}`);
  assert.equal(await page.getByLabel("Invite code").inputValue(), "");
  await page.getByLabel("Invite code").fill("wrong");
  await page.getByLabel("Your name").fill("plain");
  await page.getByLabel("or choose the file").setInputFiles(path);
  await send(page);
  await page.getByText("That code is not good").waitFor();
  assert.equal(await page.getByLabel("Your public key").inputValue(), line, "the file is kept");
  await page.getByLabel("Invite code").fill(code);
  await send(page);
  await page.getByRole("heading", { name: "Come in" }).waitFor();
  // The same form again: by reloading, or by a second click.
  await page.reload();
  await page.getByRole("heading", { name: "Come in" }).waitFor();
  assert.match(ssh("plain", "whoami"), /^plain /, "the key in the file gets in, under that name");
  await page.context().close();
}
