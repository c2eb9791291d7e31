// A storefront on an origin of its own: two pages that use the published SDK, unmodified, in the browser.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = fileURLToPath(new URL('../node_modules/', import.meta.url));
const require = createRequire(import.meta.url);

// The SDK asks for its two dependencies by name. One of them is CommonJS and gets a module around it.
const IMPORTS = {
  '@medusajs/js-sdk': '/modules/@medusajs/js-sdk/dist/esm/index.js',
  'fetch-event-stream': '/modules/fetch-event-stream/esm/mod.js',
  qs: '/qs.js',
};

const PAGE = `<!doctype html>
<html lang="en">
<title>Storefront</title>
<link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module" src="/storefront.js"></script>
<h1>Storefront</h1>
<button id="begin">Sign in</button>
<button id="create" hidden>Create customer</button>
<pre id="shown"></pre>
`;

// What a storefront's developer writes. `{settings}` stands for where the API is.
const SCRIPT = `
import Medusa from '@medusajs/js-sdk';

const { provider, ...config } = {settings};
const sdk = new Medusa({ ...config, auth: { type: 'jwt', jwtTokenStorageMethod: 'session' } });
const element = (id) => document.getElementById(id);
const show = (what) => (element('shown').textContent = JSON.stringify(what));
const fails = (error) => show({ error: { status: error.status, message: error.message } });
const claimsOf = (token) => JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));

const begin = async () => {
  const { location: there } = await sdk.auth.login('customer', provider, {});
  sessionStorage.setItem('state', new URL(there).searchParams.get('state'));
  location.assign(there);
};

const finish = async () => {
  const query = Object.fromEntries(new URLSearchParams(location.search));
  const expected = sessionStorage.getItem('state');
  sessionStorage.removeItem('state');
  if (!expected || query.state !== expected) throw new Error('the sign-in was begun elsewhere');
  const claims = claimsOf(await sdk.auth.callback('customer', provider, query));
  element('create').hidden = Boolean(claims.actor_id);
  element('create').onclick = () => sdk.store.customer.create({ email: claims.user_metadata.email }).then(({ customer }) => show({ customer }), fails);
  show({ claims });
};

element('begin').onclick = () => begin().catch(fails);
if (location.pathname === '/callback') finish().catch(fails);
`;

// { origin, callback, connect(settings), stop() }: `settings` are baseUrl, publishableKey and provider, known once the API runs.
export async function startStorefront() {
  let settings = {};
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://storefront');
    file(pathname, settings).then(
      ([kind, text]) => response.writeHead(200, { 'content-type': `${kind}; charset=utf-8` }).end(text),
      () => response.writeHead(404).end(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${server.address().port}`;
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { origin, callback: `${origin}/callback`, connect: (given) => (settings = given), stop };
}

async function file(pathname, settings) {
  if (pathname === '/' || pathname === '/callback') return ['text/html', PAGE];
  // Where the demo provider leads back to. It does nothing by itself: a test hands what is in its address to an SDK of its own.
  if (pathname === '/auth/customer/demo/callback') return ['text/html', '<!doctype html><title>Back</title><link rel="icon" href="data:,">'];
  if (pathname === '/storefront.js') return ['text/javascript', SCRIPT.replace('{settings}', JSON.stringify(settings))];
  if (pathname === '/qs.js') {
    const text = await readFile(path.join(path.dirname(require.resolve('qs')), '../dist/qs.js'), 'utf8');
    return ['text/javascript', `const module = { exports: {} }, exports = module.exports;\n${text}\nexport const { parse, stringify } = module.exports;\n`];
  }
  const inside = path.join(modules, pathname.replace(/^\/modules\//, ''));
  if (!pathname.startsWith('/modules/') || !inside.startsWith(modules) || !inside.endsWith('.js')) throw new Error('not here');
  return ['text/javascript', await readFile(inside, 'utf8')];
}
