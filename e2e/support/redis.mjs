// A Redis server on a free port that keeps nothing on disk.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './server.mjs';

// { port, stop() }
export async function startRedis() {
  const port = await freePort();
  const server = spawn('redis-server', ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no'], { cwd: tmpdir(), stdio: 'ignore' });
  const ended = once(server, 'exit');
  const killAtExit = () => server.kill('SIGKILL');
  process.once('exit', killAtExit);
  const deadline = Date.now() + 20_000;
  while (!(await answers(port))) {
    if (server.exitCode !== null) throw new Error(`redis-server ended with ${server.exitCode}`);
    if (Date.now() > deadline) throw new Error('redis-server does not answer');
    await sleep(20);
  }
  const stop = async () => {
    process.removeListener('exit', killAtExit);
    server.kill('SIGKILL');
    await ended;
  };
  return { port, stop };
}

async function answers(port) {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
