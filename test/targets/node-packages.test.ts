/** Packages that bring their own protocol, through a tunnel: ws, pg and mqtt against services behind the other mote. */
import { once as onceOf } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { Aedes } from 'aedes';
import { MqttClient } from 'mqtt';
import pg from 'pg';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket, WebSocketServer } from 'ws';
import type { Mote } from '../../lib/mote/mote.ts';
import { createAgent } from '../../targets/node/agent.ts';
import { attachServer } from '../../targets/node/server.ts';
import { createConnection, MoteSocket } from '../../targets/node/socket.ts';
import { expose, FAR, noise, once, pair, sha256, within } from './node-packages-support.ts';

const suiteOf = suite('node packages');

let motes: { near: Mote; far: Mote; close(): Promise<void> };
suiteOf.before(async () => {
  motes = await pair();
  await motes.near.ping(FAR);
});
suiteOf.after(() => motes?.close());

/** A test that fails when it hangs. */
const test = (name: string, run: () => Promise<void>) => suiteOf(name, () => within(60_000, run()));

test('ws carries text, megabytes, pings and close codes', async () => {
  const server = http.createServer();
  const sockets = new WebSocketServer({ server, maxPayload: 2_000_000 });
  const seen: unknown[] = [];
  sockets.on('connection', (socket, request) => {
    seen.push(request.url, request.socket.remoteAddress);
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on('close', (code, reason) => seen.push(code, reason.toString()));
    socket.on('error', () => undefined);
  });
  const attachment = await attachServer(motes.far, server, 80);
  const client = new WebSocket(`ws://${FAR}/chat`, { agent: createAgent(motes.near) });
  await once(client, 'open');
  const echo = async (message: string | Buffer) => {
    client.send(message);
    const [data, isBinary] = (await once(client, 'message')) as [Buffer, boolean];
    return isBinary ? sha256(data) : data.toString();
  };
  assert.is(await echo('hello'), 'hello');
  const megabyte = noise(1_000_000);
  assert.is(await echo(megabyte), sha256(megabyte));
  client.ping('are you there');
  assert.is(String((await once(client, 'pong'))[0]), 'are you there');
  const [peer] = sockets.clients;
  peer!.ping();
  await once(peer!, 'pong');
  client.close(4001, 'done here');
  assert.equal(await once(client, 'close').then(([code, reason]) => [code, String(reason)]), [4001, 'done here']);
  const second = new WebSocket(`ws://${FAR}/two`, {
    createConnection: (() => createConnection(motes.near, { host: FAR, port: 80 })) as never,
  });
  await once(second, 'open');
  second.send(Buffer.alloc(2_000_001));
  assert.is((await onceOf(second, 'close'))[0], 1009);
  assert.equal(seen.slice(0, 4), ['/chat', '10.77.0.1', 4001, 'done here']);
  const refused = new WebSocket(`ws://${FAR}:81/`, { agent: createAgent(motes.near) });
  assert.is(((await once(refused, 'error'))[0] as { code: string }).code, 'ECONNREFUSED');
  sockets.close();
  await attachment.close(1000);
});

test('pg queries, fails, fetches a large result and ends', async () => {
  const db = await PGlite.create();
  const server = new PGLiteSocketServer({ db, port: 0, host: '127.0.0.1' });
  await server.start();
  const { port } = (server as unknown as { server: net.Server }).server.address() as AddressInfo;
  const exposed = await expose(motes.far, 5432, port);
  const client = new pg.Client({
    host: FAR,
    port: 5432,
    user: 'postgres',
    database: 'postgres',
    password: 'postgres',
    stream: () => new MoteSocket({ mote: motes.near }) as never,
  });
  await client.connect();
  const sum = await client.query('select $1::int + $2::int as sum, $3::text as text', [40, 2, 'ünïcode']);
  assert.equal(sum.rows, [{ sum: 42, text: 'ünïcode' }]);
  const error = await client.query('select * from nowhere').catch(e => e as { code: string });
  assert.is((error as { code: string }).code, '42P01');
  await client.query('create table t (id int primary key, body text)');
  await client.query('insert into t select i, repeat(md5(i::text), 16) from generate_series(1, 10000) i');
  const { rows } = await client.query('select * from t order by id');
  assert.is(rows.length, 10_000);
  assert.is(
    rows.reduce((bytes: number, row: { body: string }) => bytes + row.body.length, 0),
    5_120_000,
  );
  assert.is((await client.query('select 1 as one')).rows[0].one, 1);
  await client.end();
  await new Promise<void>(resolve => exposed.close(() => resolve()));
  await server.stop();
  await db.close();
});

test('mqtt publishes and subscribes with QoS 0 and 1, keeps what is retained, and ends', async () => {
  const broker = await Aedes.createBroker();
  const listener = net.createServer(broker.handle).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const exposed = await expose(motes.far, 1883, (listener.address() as AddressInfo).port);
  const connect = async (clientId: string) => {
    const client = new MqttClient(() => createConnection(motes.near, { host: FAR, port: 1883, noDelay: true }), {
      clientId,
    });
    await once(client as unknown as NodeJS.EventEmitter, 'connect');
    return client;
  };
  const [publisher, subscriber] = await Promise.all([connect('pub'), connect('sub')]);
  const received: string[] = [];
  let wake: () => void = () => undefined;
  subscriber.on('message', (topic, payload, packet) => {
    received.push(`${topic} ${payload.length} ${packet.qos} ${packet.retain}`);
    wake();
  });
  const messages = async (count: number) => {
    while (received.length < count) await new Promise<void>(resolve => (wake = resolve));
  };
  await subscriber.subscribeAsync({ 'a/0': { qos: 0 }, 'a/1': { qos: 1 } });
  await publisher.publishAsync('a/0', 'zero', { qos: 0 });
  await publisher.publishAsync('a/1', noise(300_000), { qos: 1 });
  await messages(2);
  assert.equal([...received].sort(), ['a/0 4 0 false', 'a/1 300000 1 false']);
  await publisher.publishAsync('kept', 'for later', { qos: 1, retain: true });
  await subscriber.subscribeAsync('kept', { qos: 1 });
  await messages(3);
  assert.is(received[2], 'kept 9 1 true');
  for (let i = 0; i < 200; i++) publisher.publish('a/1', String(i), { qos: 1 });
  await messages(203);
  await Promise.all([publisher.endAsync(), subscriber.endAsync()]);
  await new Promise<void>(resolve => exposed.close(() => resolve()));
  await new Promise<void>(resolve => broker.close(() => resolve()));
  listener.close();
});

suiteOf.run();
