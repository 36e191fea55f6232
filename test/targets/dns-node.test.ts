/** The resolver of `node:dns` (c-ares) asks lib/dns over real sockets of the loopback interface: UDP, and TCP after TC. */
import dgram from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import net from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { answerQuery } from '../../lib/dns/answer.ts';
import { NAME_LIMITS_LARGE } from '../../lib/dns/limits.ts';
import type { NameTable } from '../../lib/dns/name-table.ts';
import { DnsStream } from '../../lib/dns/stream.ts';
import { SUFFIX, sampleTable } from '../dns/support.ts';

const test = suite('dns with node:dns');

/** A server on one port of 127.0.0.1, for both transports. */
class Server {
  readonly #udp = dgram.createSocket('udp4');
  readonly #tcp = net.createServer();
  readonly #table: NameTable;
  /** Connections over TCP so far. */
  connections = 0;

  constructor(table: NameTable) {
    this.#table = table;
    const out = new Uint8Array(4096);
    this.#udp.on('message', (query, from) => {
      const length = answerQuery(this.#table, query, 0, query.length, out);
      if (length > 0) this.#udp.send(out.slice(0, length), from.port, from.address);
    });
    this.#tcp.on('connection', socket => this.#serve(socket));
  }

  #serve(socket: net.Socket): void {
    this.connections++;
    const stream = new DnsStream(this.#table);
    const out = new Uint8Array(100);
    socket.on('error', () => socket.destroy());
    socket.on('data', bytes => {
      for (let at = 0; at < bytes.length && !stream.isBroken; ) {
        at += stream.handleBytes(bytes, at, bytes.length);
        for (let length = stream.pollBytes(out, 0, 100); length > 0; length = stream.pollBytes(out, 0, 100))
          socket.write(out.slice(0, length));
      }
      if (stream.isBroken) socket.destroy();
    });
  }

  /** Text for `setServers`. */
  async open(): Promise<string> {
    this.#tcp.listen(0, '127.0.0.1');
    await once(this.#tcp, 'listening');
    const { port } = this.#tcp.address() as net.AddressInfo;
    this.#udp.bind(port, '127.0.0.1');
    await once(this.#udp, 'listening');
    return `127.0.0.1:${port}`;
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
  }
}

async function withResolver(
  table: NameTable,
  use: (resolver: Resolver, server: Server) => Promise<void>,
): Promise<void> {
  const server = new Server(table);
  const resolver = new Resolver({ timeout: 2000, tries: 2 });
  try {
    resolver.setServers([await server.open()]);
    await use(resolver, server);
  } finally {
    resolver.cancel();
    server.close();
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: { code?: string }) => error.code ?? String(error),
  );
}

test('addresses, names and zones are understood', async () => {
  await withResolver(sampleTable(), async (resolver, server) => {
    assert.equal(await resolver.resolve4(`printer.${SUFFIX}`, { ttl: true }), [{ address: '100.64.0.7', ttl: 5 }]);
    assert.equal(await resolver.resolve6(`Printer.${SUFFIX}`), ['fd7a:115c:a1e0::7']);
    assert.equal(await resolver.reverse('100.64.0.7'), [`printer.${SUFFIX}`]);
    assert.equal(await resolver.reverse('fd7a:115c:a1e0::1'), [`me.${SUFFIX}`]);
    const { nsname, minttl, refresh } = await resolver.resolveSoa(SUFFIX);
    assert.equal([nsname, minttl, refresh], [SUFFIX, 10, 10]);
    assert.is(server.connections, 0);
  });
});

test('what does not exist, has no such record or is not ours is told apart', async () => {
  await withResolver(sampleTable(), async resolver => {
    assert.is(await codeOf(resolver.resolve4(`nobody.${SUFFIX}`)), 'ENOTFOUND');
    assert.is(await codeOf(resolver.resolveTxt(`me.${SUFFIX}`)), 'ENODATA');
    assert.is(await codeOf(resolver.resolve4('example.com')), 'EREFUSED');
    assert.is(await codeOf(resolver.reverse('100.64.0.9')), 'ENOTFOUND');
  });
});

test('an answer that is too large for UDP comes over TCP', async () => {
  const records = Array.from({ length: 64 }, (_, i) => ({ Name: 'many.corp.example', Value: `fd00::${i + 1}` }));
  await withResolver(sampleTable({ ExtraRecords: records }, NAME_LIMITS_LARGE), async (resolver, server) => {
    assert.is((await resolver.resolve6('many.corp.example')).length, 64);
    assert.ok(server.connections > 0);
  });
});

test.run();
