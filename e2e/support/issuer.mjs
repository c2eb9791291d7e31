// A certified OpenID Connect provider on loopback, with people who exist for the length of a test.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import Provider from 'oidc-provider';

export const CLIENT = { id: 'storefront', secret: 'a-secret-of-the-browser-tests' };

// Starts an issuer for one client, which may send people back to `redirectUri`. `people` maps a subject to its claims.
// { issuer, requests, stop() }; `requests` lists method and path of what the issuer was asked.
export async function startIssuer({ redirectUri, people }) {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration(redirectUri, people));
  const answer = provider.callback();
  const requests = [];
  server.on('request', (request, response) => {
    const { pathname } = new URL(request.url, issuer);
    requests.push(`${request.method} ${pathname}`);
    if (!pathname.startsWith('/interaction/')) return answer(request, response);
    return interact(provider, people, request, response).catch((error) => response.writeHead(500).end(String(error)));
  });
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { issuer, requests, stop };
}

function configuration(redirectUri, people) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        token_endpoint_auth_method: 'client_secret_post',
        redirect_uris: [redirectUri],
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'of-this-run', use: 'sig', alg: 'RS256' }] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name', 'picture'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    pkce: { required: () => true },
    ttl: { AccessToken: 300, AuthorizationCode: 60, Grant: 600, IdToken: 300, Interaction: 600, Session: 600 },
    findAccount: (_, subject) => people[subject] && { accountId: subject, claims: () => ({ sub: subject, ...people[subject] }) },
    // Who signs in has agreed: these tests are about the sign-in.
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope(oidc.params.scope);
      await grant.save();
      return grant;
    },
  };
}

// One form: a button for each person, and one that denies.
async function interact(provider, people, request, response) {
  const { prompt } = await provider.interactionDetails(request, response);
  if (prompt.name !== 'login') throw new Error(`a prompt that these tests do not know: ${prompt.name}`);
  if (request.method !== 'POST') {
    const buttons = Object.keys(people).map((subject) => `<button name="subject" value="${subject}">${subject}</button>`);
    const page = `<!doctype html><title>Issuer</title><h1>Issuer</h1><form method="post">${buttons.join('')}<button name="deny" value="1">Deny</button></form>`;
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
    return;
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  const form = new URLSearchParams(body);
  const denied = { error: 'access_denied', error_description: 'The person said no' };
  const result = form.has('deny') ? denied : { login: { accountId: form.get('subject') } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}
