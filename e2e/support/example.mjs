// The example storefront, built by its own tools and served as any host of static files would.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../examples/storefront', import.meta.url));
const KINDS = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

// { origin, build(api, key), stop() }: where the pages are is known before they are built for an API.
export async function startExample() {
  const folder = await mkdtemp(path.join(tmpdir(), 'vestibule-storefront-'));
  let policy = "default-src 'none'";
  const server = http.createServer((request, response) => {
    answer(folder, new URL(request.url, 'http://storefront').pathname).then(
      ([kind, text]) => response.writeHead(200, { 'content-type': `${kind}; charset=utf-8`, 'content-security-policy': policy }).end(text),
      (error) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const build = async (api, key) => {
    // As the example's README asks for.
    policy = `default-src 'self'; connect-src 'self' ${api}; img-src 'self' data:`;
    const env = { ...process.env, VITE_API_URL: api, VITE_PUBLISHABLE_KEY: key };
    await promisify(execFile)('npm', ['run', 'build', '--', '--outDir', folder, '--emptyOutDir'], { cwd: ROOT, env, timeout: 120_000 });
  };
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    await rm(folder, { recursive: true, force: true });
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, build, stop };
}

// What is no file is the one page.
async function answer(folder, pathname) {
  const kind = KINDS[path.extname(pathname)];
  const file = kind ? path.join(folder, path.normalize(pathname)) : path.join(folder, 'index.html');
  return [kind ?? KINDS['.html'], await readFile(file, 'utf8')];
}
