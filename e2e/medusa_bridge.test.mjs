// The bridge to Medusa: what we put into Redis is taken by a real worker of BullMQ with the settings of Medusa's event bus
// (@medusajs/event-bus-redis 2.21.2 pins bullmq 5.13.0), and looks as its own producer's.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { startRedis } from './support/redis.mjs';
import { startConfigured } from './support/server.mjs';

const KEY = `pk_${'7a1c5e9d'.repeat(8)}`;
// As Medusa's module makes its queue and its worker.
const NAME = 'events-queue';
const PREFIX = 'RedisEventBusService';
const OLD = 'a-quiet-Tuesday-7';
const NEW = 'a-loud-Wednesday-8';
// The guide's configuration, as it stands.
const page = await readFile(new URL('../docs/guides/beside-medusa.md', import.meta.url), 'utf8');
const BRIDGE = /^```toml\n(\[tenants\.medusa\][\s\S]*?)^```$/m.exec(page)[1];

describe('the bridge to Medusa', { timeout: 120_000 }, () => {
  let redis;
  let vestibule;
  let queue;
  let options;

  before(async () => {
    redis = await startRedis();
    options = { prefix: PREFIX, connection: { host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: null } };
    queue = new Queue(NAME, options);
    vestibule = await startConfigured(
      (port) => `[server]
listen = "127.0.0.1:${port}"
default_tenant = "shop"
[database]
url = "sqlite://vestibule.db"
[[tenants]]
slug = "shop"
publishable_keys = ["${KEY}"]
${BRIDGE.replace('127.0.0.1:6379', `127.0.0.1:${redis.port}`)}`,
      { VESTIBULE__KEYS__MASTER: randomBytes(32).toString('base64') },
    );
  });
  after(async () => {
    await queue?.close();
    await vestibule?.stop();
    await redis?.stop();
  });

  async function post(path, body, token) {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    return fetch(`http://127.0.0.1:${vestibule.port}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  async function asked(email) {
    assert.equal((await post('/auth/customer/emailpass/register', { email, password: OLD })).status, 200);
    assert.equal((await post('/auth/customer/emailpass/reset-password', { identifier: email, metadata: { locale: 'de' } })).status, 201);
  }

  async function until(look) {
    const deadline = Date.now() + 20_000;
    for (;;) {
      const found = await look();
      if (found) return found;
      if (Date.now() > deadline) throw new Error(`it did not come: ${look}`);
      await sleep(20);
    }
  }

  test("a subscriber of Medusa's hears a reset, and its token works", async () => {
    // What its worker does with a job: the subscribers of the job's name are called with this.
    const heard = [];
    const worker = new Worker(NAME, async ({ name, data, opts, attemptsMade }) => heard.push({ name, ...data, opts, attemptsMade }), options);
    try {
      await asked('ann@example.com');
      await until(() => heard.length > 0);
      const [{ name, data, metadata, opts, attemptsMade }] = heard;
      assert.equal(name, 'auth.password_reset');
      const { token, ...rest } = data;
      assert.deepEqual(rest, { entity_id: 'ann@example.com', actor_type: 'customer', metadata: { locale: 'de' } });
      for (const date of ['created_at', 'published_at']) assert.ok(Math.abs(new Date(metadata[date]) - Date.now()) < 60_000, metadata[date]);
      assert.deepEqual([opts.attempts, opts.priority, opts.delay, opts.removeOnComplete, attemptsMade], [1, 100, 0, true, 0]);
      assert.equal((await post('/auth/customer/emailpass/update', { password: NEW }, token)).status, 200);
      assert.equal((await post('/auth/customer/emailpass', { email: 'ann@example.com', password: NEW })).status, 200);
      // And it is finished as the worker's own jobs are.
      await until(async () => Object.values(await queue.getJobCounts()).every((count) => count === 0));
      assert.equal(heard.length, 1);
    } finally {
      await worker.close();
    }
  });

  test("in Redis it lies as a job of Medusa's own producer", async () => {
    await queue.pause();
    await asked('ben@example.com');
    const ours = await until(async () => (await queue.getJobs(['prioritized', 'paused']))[0]);
    const opts = { removeOnComplete: true, attempts: 1, priority: 100, jobId: 'evt_1' };
    const theirs = await queue.add(ours.name, { ...ours.data, data: { ...ours.data.data, token: 'theirs' } }, opts);
    const client = await queue.client;
    const hash = async (id) => client.hgetall(`${PREFIX}:${NAME}:${id}`);
    const [a, b] = [await hash(ours.id), await hash(theirs.id)];
    assert.deepEqual(Object.keys(a).sort(), Object.keys(b).sort());
    for (const field of ['name', 'delay', 'priority']) assert.equal(a[field], b[field], field);
    assert.deepEqual({ ...JSON.parse(a.opts), jobId: 'evt_1' }, JSON.parse(b.opts));
    assert.ok(Math.abs(a.timestamp - b.timestamp) < 60_000);
    // Ours came first, and is next.
    assert.deepEqual(await client.zrange(`${PREFIX}:${NAME}:prioritized`, 0, -1), [ours.id, theirs.id]);
    const worked = [];
    const worker = new Worker(NAME, async (job) => worked.push(job.id), options);
    try {
      await sleep(100);
      assert.deepEqual(worked, [], 'a queue that is paused stays so');
      await queue.resume();
      await until(() => worked.length === 2);
      assert.deepEqual(worked, [ours.id, theirs.id]);
    } finally {
      await worker.close();
    }
  });
});
