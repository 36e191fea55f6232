/** `motenet netcheck`: what it shows, how it checks on its own, and with a real coordinator, its relay and STUN. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Endpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { KeyView } from '../../lib/coordinator/commands.ts';
import { RegionTable } from '../../lib/derp/region-table.ts';
import type { NetcheckStatus } from '../../lib/netcheck/summary.ts';
import type { Host } from '../../lib/ports.ts';
import { StunResponder } from '../../lib/stun/responder.ts';
import { RunError, UsageError } from '../../targets/cli/errors.ts';
import { parseNetcheckArgs, runNetcheck } from '../../targets/cli/netcheck.ts';
import { fetchRegions, measure, parseRegions } from '../../targets/cli/netcheck-run.ts';
import { netcheckLines } from '../../targets/cli/netcheck-view.ts';
import { host } from '../../targets/node/index.ts';
import { startServer } from '../../targets/server/index.ts';
import { MemoryNetwork, seededRandom } from '../sim/memory-host.ts';
import { Command, Folder, run } from './command.ts';

const test = suite('cli netcheck');
const folder = new Folder();
const ENV = { XDG_STATE_HOME: '/state' };

const STATUS: NetcheckStatus = {
  udp: true,
  ipv4: true,
  ipv6: false,
  globalV4: '198.51.100.7:41000',
  globalV6: undefined,
  mappingVariesByDestIp: false,
  endpoints: ['198.51.100.7:41000'],
  home: { region: 2, code: 'ams', name: 'Amsterdam', why: 'nearest' },
  relays: [
    {
      region: 2,
      code: 'ams',
      name: 'Amsterdam',
      latencyMs: 8.2,
      latencyV4Ms: 8.2,
      latencyV6Ms: undefined,
      isHome: true,
    },
    { region: 900, code: '', name: '', latencyMs: 130, latencyV4Ms: 130, latencyV6Ms: undefined, isHome: false },
  ],
  tookMs: 260,
};

function usage(args: readonly string[]): string {
  try {
    parseNetcheckArgs(args, ENV);
  } catch (error) {
    assert.instance(error, UsageError);
    return (error as Error).message;
  }
  throw new Error('it was accepted');
}

async function reason(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: Error) => error,
  );
}

test('it asks the mote of a state folder, or the relays of a coordinator', () => {
  assert.equal(parseNetcheckArgs([], ENV), { isJson: false, from: { stateDir: '/state/motenet' } });
  assert.equal(parseNetcheckArgs(['--json', '--state', '/x'], ENV), { isJson: true, from: { stateDir: '/x' } });
  assert.equal(parseNetcheckArgs(['--control', 'https://a.example'], ENV), {
    isJson: false,
    from: { control: 'https://a.example' },
  });
  assert.match(usage(['--control', 'https://a.example', '--state', '/x']), '--control and --state');
  assert.match(usage(['--control', 'ftp://a.example']), 'https://');
  assert.match(usage(['here']), 'netcheck takes no arguments');
});

test('people see a line per fact, and the relays nearest first', () => {
  assert.equal(
    netcheckLines(STATUS),
    [
      'UDP         works',
      'IPv4        works, seen as 198.51.100.7:41000',
      'IPv6        no answer',
      'NAT         one address for all destinations: good for direct paths',
      'home relay  ams (Amsterdam), the nearest',
      '',
      'RELAY  NAME       ROUND TRIP  IPV4     ',
      'ams    Amsterdam  8.20 ms     8.20 ms  home',
      '900               130 ms      130 ms',
    ].map(line => line.trimEnd()),
  );
});

test('why a relay is home, and what the NAT does, is told in words', () => {
  const line = (more: Partial<NetcheckStatus>, heading: string) =>
    netcheckLines({ ...STATUS, ...more })
      .find(text => text.startsWith(heading))!
      .replace(/^.*? {2,}/, '');
  const home = { region: 7, code: '', name: '', why: 'near-enough' } as const;
  assert.is(line({ home }, 'home relay'), '7, kept: no other is nearer by 10 ms and a third');
  assert.match(line({ home: { ...home, why: 'heard' } }, 'home relay'), 'its connection works');
  assert.match(line({ home: { ...home, why: 'connected' } }, 'home relay'), 'is connected');
  assert.is(line({ home: undefined }, 'home relay'), 'no relay can be home');
  assert.match(line({ mappingVariesByDestIp: true }, 'NAT'), 'another address for each destination');
  assert.match(line({ mappingVariesByDestIp: undefined }, 'NAT'), 'two relays');
  assert.equal([line({ udp: false }, 'NAT'), line({ udp: false }, 'UDP').slice(0, 7)], ['unknown', 'blocked']);
});

test('names of relays do not reach the terminal as commands', () => {
  const bad = { region: 1, code: '\x1b[2J', name: '\x1b]0;x\x07', why: 'nearest' } as const;
  const relay = { ...STATUS.relays[0]!, code: bad.code, name: bad.name };
  for (const line of netcheckLines({ ...STATUS, home: bad, relays: [relay] })) assert.not.match(line, /[\x00-\x1f]/);
});

/** Relays with STUN on an in-memory network: `10.0.0.ID`, behind names. */
class Relays {
  readonly network = new MemoryNetwork();
  readonly regions = new RegionTable();
  readonly names: Record<string, readonly string[]> = {};
  asked = 0;

  async add(id: number): Promise<void> {
    const address = `10.0.0.${id}`;
    const responder = new StunResponder({ random: seededRandom(id) });
    const out = new Uint8Array(64);
    const datagram = (buf: Uint8Array, start: number, end: number, from: Endpoint) => {
      this.asked++;
      const length = responder.answer(this.network.nowMs, buf, start, end, from, out, 0);
      socket.send(out, 0, length, from);
    };
    const failed = (error: NetError) => {
      throw error;
    };
    const socket = await this.network.host(address, id).openDatagrams({ port: 3478 }, { datagram, failed });
    this.names[`r${id}.example`] = [address];
    const node = { Name: `${id}a`, RegionID: id, HostName: `r${id}.example`, IPv6: 'none' };
    this.regions.put({ RegionID: id, RegionCode: `r${id}`, RegionName: '', Nodes: [node] });
  }

  check(): Promise<NetcheckStatus> {
    return this.network.until(measure(this.network.host('192.168.1.2', 77, this.names), this.regions));
  }
}

test('it looks names up, asks each relay, and closes its socket', async () => {
  const relays = new Relays();
  await relays.add(1);
  await relays.add(2);
  relays.network.fate = (_bytes, from, to) => ({
    isDropped: false,
    delayMs: from.address === '10.0.0.1' || to.address === '10.0.0.1' ? 20 : 5,
  });
  const status = await relays.check();
  assert.equal(
    status.relays.map(({ code, latencyMs }) => [code, latencyMs]),
    [
      ['r2', 10],
      ['r1', 40],
    ],
  );
  assert.equal([status.home?.code, status.home?.why, status.mappingVariesByDestIp], ['r2', 'nearest', false]);
  assert.match(status.globalV4!, /^192\.168\.1\.2:/);
  assert.is(relays.asked, 2);
  const port = Number(status.globalV4!.split(':')[1]);
  const again = relays.network.host('192.168.1.2', 1);
  await again.openDatagrams({ port }, { datagram: () => undefined, failed: () => undefined });
});

test('where nothing answers and no name is known, it still ends', async () => {
  const relays = new Relays();
  await relays.add(1);
  relays.network.fate = () => ({ isDropped: true, delayMs: 0 });
  assert.equal([(await relays.check()).udp, relays.network.nowMs >= 4000], [false, true]);
  delete relays.names['r1.example'];
  assert.equal((await relays.check()).relays, []);
});

test('a socket that cannot be opened or fails is an error, not silence', async () => {
  const { network, regions } = new Relays();
  const inside = network.host('192.168.1.2', 1);
  const closed: Host = {
    ...inside,
    openDatagrams: async () => {
      throw new NetError('ERR_ADDRESS_IN_USE', 'taken');
    },
  };
  assert.is((await reason(measure(closed, regions))).message, 'taken');
  const relays = new Relays();
  await relays.add(1);
  const failing: Host = {
    ...relays.network.host('192.168.1.2', 1, relays.names),
    openDatagrams: async (_options, sink) => {
      relays.network.host('', 1).defer(() => sink.failed(new NetError('ERR_CLOSED', 'broken')));
      return { local: [], send: () => false, close: () => undefined };
    },
  };
  assert.is((await reason(relays.network.until(measure(failing, relays.regions)))).message, 'broken');
});

const servers: Server[] = [];
test.after.each(() => {
  for (const server of servers.splice(0)) server.close();
});

/** The address of an HTTP server with this answer. */
async function served(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('what is no map of relays says what to do next', async () => {
  const missing = await served((_request, response) => void response.writeHead(404).end('nothing'));
  const text = await served((_request, response) => void response.end('<html>'));
  const away = await served((_request, response) => void response.writeHead(302, { Location: missing }).end());
  for (const [url, expected] of [
    [missing, /status 404.*motenet up/],
    [text, /does not say where its relays are: .*motenet up/],
    [away, /cannot ask .* for its relays: .*redirect/],
    ['http://127.0.0.1:1', /cannot ask .* for its relays: /],
  ] as const) {
    const error = await reason(fetchRegions(url));
    assert.instance(error, RunError);
    assert.match(error.message, expected);
  }
});

test('a map that is too long is not read to its end', async () => {
  let isClosed = false;
  const url = await served((_request, response) => {
    response.on('close', () => {
      isClosed = true;
    });
    const chunk = Buffer.alloc(65_536, 0x20);
    const more = () => {
      while (!isClosed && response.write(chunk));
      if (!isClosed) response.once('drain', more);
    };
    more();
  });
  assert.match((await reason(fetchRegions(url))).message, 'more than 1048576 bytes');
});

test('of a map the well-formed regions count', () => {
  const node = { Name: '1a', RegionID: 1, HostName: 'a.example' };
  const good = { RegionID: 1, RegionCode: 'a', RegionName: 'A', Nodes: [node] };
  const parsed = parseRegions(JSON.stringify({ Regions: { 1: good, 2: good, 3: null, x: good, 4: { RegionID: 4 } } }));
  assert.equal(parsed!.ids()[0], 1);
  assert.not(parsed!.has(2) || parsed!.has(3));
  for (const text of ['', 'null', '[]', '{}', '{"Regions":3}', '{"Regions":null}'])
    assert.is(parseRegions(text), undefined, text);
});

test('without a running mote it says what to do', async () => {
  const stateDir = join(folder.path, 'nobody');
  const error = await reason(runNetcheck({ isJson: false, from: { stateDir } }, { out: () => undefined, host }));
  assert.match(error.message, 'start one with `motenet up');
});

test('a real coordinator tells its relays; a member asks its mote', async () => {
  const server = await startServer({
    dataDir: join(folder.path, 'data'),
    listen: { host: '127.0.0.1', port: 0 },
    stunPort: 0,
    log: () => undefined,
  });
  const outside = await run(['netcheck', '--control', server.url]);
  assert.equal([outside.code, outside.stderr], [0, '']);
  assert.match(outside.stdout, /^UDP +works\nIPv4 +works, seen as 127\.0\.0\.1:\d+\n/);
  assert.match(outside.stdout, /\nhome relay +own \(Own relay\), the nearest\n/);
  assert.match(outside.stdout, /\nown +Own relay +[0-9.]+ ms +[0-9.]+ ms +home\n$/);

  const admin = { name: 'admin', tailnet: undefined };
  const outcome = await server.command(admin, { type: 'key-create', tailnet: 'default' } as never);
  const key = folder.write('key', (outcome as { value: KeyView }).value.key!);
  const state = ['--state', join(folder.path, 'alpha')];
  const alpha = new Command(['up', '--control', server.url, '--authkey-file', key, ...state]);
  await alpha.line(/^ready/);
  const inside = await run(['netcheck', '--json', ...state]);
  assert.equal([inside.code, inside.stderr], [0, '']);
  const status = JSON.parse(inside.stdout) as NetcheckStatus;
  assert.equal([status.udp, status.ipv4, status.home?.code, status.relays[0]?.isHome], [true, true, 'own', true]);
  const port = Number(/^127\.0\.0\.1:(\d+)$/.exec(status.globalV4!)?.[1]);
  const { mote } = JSON.parse((await run(['status', '--json', ...state])).stdout);
  assert.is(port, mote.listenPort, 'the socket of the mote was asked, not another one');
  assert.is((await alpha.stop('SIGTERM')).code, 0);
  await server.close();
});

test.run();
