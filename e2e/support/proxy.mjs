// nginx on loopback with a configuration from docs/: the committed file, its ports replaced and nothing else.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './server.mjs';

const NGINX = process.env.NGINX || '/usr/sbin/nginx';
const READY_WITHIN_MS = 10_000;

// What a distribution's nginx.conf does around such a file. One process, so that it needs no account of its own.
const around = (file) => `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include ${file};
}
`;

// { port, stop() }. `ports` maps a port of the file to the one that stands for it here; 80 is what nginx listens on.
export async function startProxy(file, ports) {
  const folder = await mkdtemp(path.join(tmpdir(), 'vestibule-proxy-'));
  const port = await freePort();
  const replaced = (text) =>
    Object.entries({ ...ports, 80: port }).reduce((done, [from, to]) => done.replaceAll(new RegExp(`(listen |127\\.0\\.0\\.1:)${from};`, 'g'), `$1${to};`), text);
  await writeFile(path.join(folder, 'site.conf'), replaced(await readFile(file, 'utf8')));
  await writeFile(path.join(folder, 'nginx.conf'), around(path.join(folder, 'site.conf')));
  const child = spawn(NGINX, ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (printed += text));
  child.on('error', (error) => (printed += String(error)));
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  const ended = () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

  const stop = async () => {
    process.removeListener('exit', killAtExit);
    if (!ended()) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    await rm(folder, { recursive: true, force: true });
  };
  const deadline = Date.now() + READY_WITHIN_MS;
  while (!(await answers(port))) {
    if (ended() || Date.now() > deadline) {
      await stop();
      throw new Error(`nginx was not ready within ${READY_WITHIN_MS} ms. It printed:\n${printed}`);
    }
    await sleep(50);
  }
  return { port, stop };
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
