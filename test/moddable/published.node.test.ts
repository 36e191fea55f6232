/**
 * Moddable's own HTTP, MQTT and NTP modules over the tunnel, unchanged: read from the SDK that `$MODDABLE` names, run
 * under Node with the few globals of XS that they use. Without an SDK these are not run, and say so.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { pathToFileURL } from 'node:url';
import { Aedes } from 'aedes';
import { build } from 'esbuild';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createTunnel } from '../../targets/moddable/tunnel.ts';
import { createAgent } from '../../targets/node/agent.ts';
import { attachServer, createServer } from '../../targets/node/server.ts';
import { eventually } from '../contract/wait.ts';
import { FAR, NEAR, pair } from '../targets/node-packages-support.ts';

const SDK = env['MODDABLE'];
const FILES = {
  HTTPClient: 'examples/io/tcp/httpclient/httpclient.js',
  HTTPServer: 'examples/io/listener/httpserver/httpserver.js',
  MQTTClient: 'examples/io/tcp/mqttclient/mqttclient.js',
  NTP: 'examples/io/udp/ntp/ntp.js',
};
const isThere = SDK !== undefined && Object.values(FILES).every(file => existsSync(join(SDK, file)));

const suiteName = suite('Moddable’s published modules over the tunnel');
const test = isThere ? suiteName : suiteName.skip;
if (!isThere) console.log('$MODDABLE names no SDK: the published modules are not run');

/** Moddable's `timer` and `time`, and the globals that XS has beyond the language. */
const SHIMS: Record<string, string> = {
  timer: `export default class Timer {
    static set(run, ms = 0) { return { handle: setTimeout(() => run(), ms) }; }
    static repeat(run, ms) { return { handle: setInterval(() => run(), ms) }; }
    static clear(timer) { if (timer) { clearTimeout(timer.handle); clearInterval(timer.handle); } }
  }`,
  time: 'export default { get ticks() { return performance.now() | 0; } };',
};

function addGlobals(): void {
  Object.assign(globalThis, { trace: () => undefined });
  Object.assign(ArrayBuffer, { fromString: (text: string) => new TextEncoder().encode(text).buffer });
  Object.assign(String, { fromArrayBuffer: (buffer: ArrayBuffer) => new TextDecoder().decode(buffer) });
}

type Made = { close(): void } & Record<string, unknown>;
type Class = new (options: object) => Made;

async function load(): Promise<Record<keyof typeof FILES, Class>> {
  addGlobals();
  const folder = await mkdtemp(join(tmpdir(), 'motenet-moddable-'));
  const contents = Object.entries(FILES)
    .map(([name, file]) => `export { default as ${name} } from ${JSON.stringify(join(SDK!, file))};`)
    .join('\n');
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    write: false,
    format: 'esm',
    logLevel: 'silent',
    plugins: [
      {
        name: 'shims',
        setup(builder) {
          builder.onResolve({ filter: /^time(r)?$/ }, ({ path }) => ({ path, namespace: 'shim' }));
          builder.onLoad({ filter: /./, namespace: 'shim' }, ({ path }) => ({ contents: SHIMS[path]! }));
        },
      },
    ],
  });
  const file = join(folder, 'modules.mjs');
  await writeFile(file, outputFiles[0]!.text);
  const modules = await import(pathToFileURL(file).href);
  await rm(folder, { recursive: true });
  return modules;
}

const modules = isThere ? await load() : undefined;

test('HTTPServer answers node:http with more than its socket takes at once', async () => {
  const motes = await pair();
  const { Listener } = createTunnel(motes.near);
  const body = 'x'.repeat(20_000);
  const server = new modules!.HTTPServer({
    io: Listener,
    port: 80,
    onConnect(connection: { accept(options: object): void }) {
      let at = 0;
      connection.accept({
        onResponse(this: { respond(response: object): void }, response: { headers: Map<string, unknown> }) {
          response.headers.set('content-length', body.length);
          this.respond(response);
        },
        onWritable(this: { write(data: Uint8Array): number }, count: number) {
          const bytes = new TextEncoder().encode(body.slice(at, at + count));
          at += bytes.length;
          this.write(bytes);
        },
      });
    },
  });
  const got = await new Promise<string>((resolve, reject) => {
    const request = http.get({ host: NEAR, agent: createAgent(motes.far) }, response => {
      let text = '';
      response.on('data', chunk => (text += chunk));
      response.on('end', () => resolve(`${response.statusCode} ${text}`));
    });
    request.on('error', reject);
  });
  assert.is(got, `200 ${body}`);
  server.close();
  await motes.close();
});

test('HTTPClient gets, posts and reuses its connection to a node:http server', async () => {
  const motes = await pair();
  const { TCP, Resolver } = createTunnel(motes.near);
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', chunk => (body += chunk));
    request.on('end', () => response.end(`${request.method} ${request.url} ${body.length}`));
  });
  const attached = await attachServer(motes.far, server, 80);
  const client = new modules!.HTTPClient({ host: 'web.test', dns: { io: Resolver }, socket: { io: TCP } });
  const ask = (options: object) =>
    new Promise<string>((resolve, reject) => {
      let text = '';
      (client['request'] as (options: object) => void).call(client, {
        ...options,
        onHeaders(status: number) {
          text += `${status} `;
        },
        onReadable(this: { read(count: number): ArrayBuffer }, count: number) {
          text += new TextDecoder().decode(this.read(count));
        },
        onDone: (error: Error | null) => (error ? reject(error) : resolve(text)),
      });
    });
  assert.is(await ask({ path: '/a' }), '200 GET /a 0');
  const body = new TextEncoder().encode('y'.repeat(5000));
  let at = 0;
  const posted = ask({
    method: 'POST',
    path: '/b',
    headers: new Map([['content-length', String(body.length)]]),
    onWritable(this: { write(data: Uint8Array): number }, count: number) {
      const part = body.subarray(at, at + count);
      at += part.length;
      this.write(part);
    },
  });
  assert.is(await posted, '200 POST /b 5000');
  assert.is(motes.near.status().connections, 1);
  client.close();
  attached.close();
  server.close();
  await motes.close();
});

test('MQTTClient subscribes and publishes through aedes', async () => {
  const motes = await pair();
  const { TCP, Resolver } = createTunnel(motes.near);
  const broker = await Aedes.createBroker();
  const server = createServer(motes.far, {}, socket => broker.handle(socket));
  await new Promise<void>(resolve => server.listen(1883, () => resolve()));
  const got: string[] = [];
  const { MQTTClient } = modules!;
  const operations = MQTTClient as unknown as { SUBSCRIBE: number; CONNACK: number; SUBACK: number };
  let topic = '';
  const client = new MQTTClient({
    host: 'web.test',
    id: 'board',
    dns: { io: Resolver },
    socket: { io: TCP },
    onControl({ operation }: { operation: number }) {
      const write = client['write'] as unknown as (data: unknown, options: object) => void;
      if (operation === operations.CONNACK)
        write.call(client, null, { operation: operations.SUBSCRIBE, items: [{ topic: 'echo' }] });
      else if (operation === operations.SUBACK)
        write.call(client, new TextEncoder().encode('z'.repeat(300)), { topic: 'echo' });
    },
    onReadable(count: number, options: { topic?: string }) {
      topic ||= options.topic ?? '';
      const read = client['read'] as unknown as (count: number) => ArrayBuffer;
      got.push(new TextDecoder().decode(read.call(client, count)));
    },
  });
  await eventually(() => got.join('').length === 300);
  assert.equal([topic, got.join('')], ['echo', 'z'.repeat(300)]);
  client.close();
  broker.close();
  server.close();
  await motes.close();
});

test('NTP asks a time server inside the tunnel', async () => {
  const motes = await pair();
  const far = createTunnel(motes.far);
  const server = new far.UDP({
    port: 123,
    onReadable() {
      const { address, port } = this.read()!;
      const answer = new DataView(new ArrayBuffer(48));
      answer.setUint32(40, 1_790_000_000 + 2_208_988_800);
      this.write(answer.buffer, address, port);
    },
  });
  const { UDP, Resolver } = createTunnel(motes.near);
  const client = new modules!.NTP({ servers: [FAR], socket: { io: UDP }, dns: { io: Resolver } });
  const time = await new Promise<number>((resolve, reject) => {
    (client['getTime'] as (done: (error: Error | null, ms: number) => void) => void).call(client, (error, ms) =>
      error === null ? resolve(ms) : reject(error),
    );
  });
  assert.is(time, 1_790_000_000_000);
  client.close();
  server.close();
  await motes.close();
});

suiteName.run();
