// Starts `vestibule dev` or `vestibule serve` in a folder of its own and stops it again. Set VESTIBULE_BIN to the built program.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 10_000;

// { base, port, output(), stdout(), stop() }. `stop()` answers how the program ended: { code, signal, killed }.
export function startDev(...options) {
  return start((port) => ['dev', '--listen', `127.0.0.1:${port}`, ...options]);
}

// The same for `vestibule serve`, with the store acme behind `key`; `more` is what else its configuration says, of the store first.
export function startServe(key, more) {
  return startConfigured(
    (port) => `[server]
listen = "127.0.0.1:${port}"
default_tenant = "acme"
[database]
url = "sqlite://vestibule.db"
[keys]
master = "${randomBytes(32).toString('base64')}"
[[tenants]]
slug = "acme"
publishable_keys = ["${key}"]
${more}`,
  );
}

// The same with a whole configuration, which is made for a port. `settings` are variables of its environment.
export function startConfigured(config, settings = {}) {
  return start(async (port, folder) => {
    const file = path.join(folder, 'vestibule.toml');
    await writeFile(file, config(port), { mode: 0o600 });
    return ['serve', '--config', file];
  }, settings);
}

// `command` answers the program's words for a port and a folder.
async function start(command, settings = {}) {
  const program = process.env.VESTIBULE_BIN;
  if (!program) throw new Error('VESTIBULE_BIN must name the built program');
  const folder = await mkdtemp(path.join(tmpdir(), 'vestibule-e2e-'));
  // Somebody else may take the port between the look and the start: then look again.
  for (let attempt = 1; ; attempt += 1) {
    const server = await launch(path.resolve(program), folder, command, settings);
    if (server.base) return server;
    const inUse = /address.*in use|EADDRINUSE/i.test(server.output());
    if (!inUse || attempt === 3) {
      await server.stop();
      throw new Error(`vestibule was not ready within ${READY_WITHIN_MS} ms. It printed:\n${server.output()}`);
    }
  }
}

async function launch(program, folder, command, settings) {
  const port = await freePort();
  const child = spawn(program, await command(port, folder), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...environment(), ...settings } });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (text) => (printed[stream] += text));
  }
  child.on('error', (error) => (printed.stderr += `${error}\n`));
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  const ended = () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

  const stop = async () => {
    let killed = false;
    if (!ended()) {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => (killed = child.kill('SIGKILL')), STOP_WITHIN_MS);
      await exit;
      clearTimeout(timer);
    }
    process.removeListener('exit', killAtExit);
    await rm(folder, { recursive: true, force: true });
    return { code: child.exitCode, signal: child.signalCode, killed };
  };

  const ready = await readiness(port, ended);
  return {
    base: ready ? `http://127.0.0.1:${port}` : null,
    port,
    folder,
    stdout: () => printed.stdout,
    output: () => printed.stdout + printed.stderr,
    stop,
  };
}

// The caller's own Vestibule settings must not reach the server under test.
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VESTIBULE_')));
}

async function readiness(port, ended) {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (Date.now() < deadline && !ended()) {
    const answer = await send(port, 'GET', `http://127.0.0.1:${port}/readyz`).catch(() => null);
    if (answer?.status === 200) return true;
    await sleep(50);
  }
  return false;
}

export async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

// One request to the server under test whatever the URL's host is: Node does not resolve `acme.localhost`.
export function send(port, method, url, { headers = {}, body } = {}) {
  const { host, pathname, search } = new URL(url);
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: '127.0.0.1', port, method, path: pathname + search, headers: { host, ...headers }, agent: false, timeout: 10_000 },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
        response.on('error', reject);
      },
    );
    request.on('timeout', () => request.destroy(new Error(`no answer to ${method} ${url} within 10 s`)));
    request.on('error', reject);
    request.end(body);
  });
}

// The demo customer's address and password as `dev` prints them: on one line, the address first, the password after `password` or `/`.
export function demoCustomer(output) {
  const found = /(\S+@[\w.-]+\w)\b(?:(?!\n).)*?(?:password:?\s+|\s\/\s+)(\S+)/i.exec(output);
  if (!found) throw new Error(`no line with the demo customer's address and password in:\n${output}`);
  return { email: found[1], password: found[2] };
}

// The printed `curl` line that asks for a password reset, as it stands.
export function resetCommand(stdout) {
  const line = stdout.split('\n').map((text) => text.trim()).find((text) => /^curl\s.*reset-password/.test(text));
  if (!line) throw new Error(`no curl line for a password reset in:\n${stdout}`);
  return line;
}

// The caught mails, newest first.
export async function inbox(server) {
  const answer = await send(server.port, 'GET', `${server.base}/dev/inbox.json`);
  if (answer.status !== 200) throw new Error(`/dev/inbox.json answered ${answer.status}: ${answer.text}`);
  const body = JSON.parse(answer.text);
  return Array.isArray(body) ? body : body.mails;
}

// Waits up to 10 s for a mail to `to` that carries a reset link and is not in `seen`; adds it there. Answers { mail, link }.
export async function resetMail(server, to, seen) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    for (const mail of await inbox(server)) {
      const link = /https?:\/\/[^\s<>"]*[?&]token=[^\s<>"]+/.exec(mail.text ?? '')?.[0];
      if (link && [mail.to].flat().join().includes(to) && !seen.has(mail.id)) {
        seen.add(mail.id);
        return { mail, link };
      }
    }
    if (Date.now() > deadline) throw new Error(`no reset mail to ${to} within 10 s`);
    await sleep(100);
  }
}
