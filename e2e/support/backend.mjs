// Stands in for Medusa behind the proxy: it believes a customer's token as Medusa does, by the shared secret alone, and opens a cart for a
// customer whom it knows. It hears of customers by the webhook.
import { once } from 'node:events';
import http from 'node:http';
import jwt from 'jsonwebtoken';
import { Webhook } from 'standardwebhooks';

// { port, customers, requests, stop() }: the ids that the webhook told, and method and path of what was asked.
export async function startBackend({ secret, webhookSecret }) {
  const customers = new Set();
  const requests = [];
  const hook = new Webhook(webhookSecret);

  // What the routes of Medusa's storefront API do: a token that does not verify is no token.
  const customerOf = (request) => {
    const token = /^\S+\s+(\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    try {
      const claims = jwt.verify(token, secret, { algorithms: ['HS256'] });
      return claims.actor_type === 'customer' ? claims.actor_id : '';
    } catch {
      return '';
    }
  };

  const routes = {
    'POST /store/carts': (request) => {
      const customer_id = customerOf(request);
      if (!customer_id) return [401, { message: 'Unauthorized' }];
      if (!customers.has(customer_id)) return [404, { type: 'not_found', message: `Customer with id: ${customer_id} was not found` }];
      return [200, { cart: { id: 'cart_1', customer_id } }];
    },
    'POST /hooks/vestibule': (request, body) => {
      try {
        const { type, data } = hook.verify(body, request.headers);
        if (type === 'customer.created') customers.add(data.id);
        return [200, {}];
      } catch {
        return [401, { message: 'Unauthorized' }];
      }
    },
  };

  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const asked = `${request.method} ${request.url}`;
    requests.push(asked);
    const [status, answer] = (routes[asked] ?? (() => [200, { answered_by: 'the backend' }]))(request, body);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { port: server.address().port, customers, requests, stop };
}
