/** The applications of the examples over the tunnel: a client and a server written against the standard only. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { postHttp, serveHttp } from '../../examples/esp32-sensor/http.ts';
import { startSensor } from '../../examples/esp32-sensor/sensor.ts';
import { ascii, type Io, type Tcp, type Timers, text } from '../../examples/esp32-sensor/standard.ts';
import { sendPress } from '../../examples/esp32-button/button.ts';
import type { MemoryNetwork } from '../sim/memory-host.ts';
import { type TunnelPair, tunnelPair, until } from './tunnel-pair.ts';

const test = suite('apps over the tunnel');

function timersOf(network: MemoryNetwork): Timers {
  const host = network.host('198.51.100.1', 1);
  return {
    set: (run, ms) => {
      const timer = host.createTimer(run);
      timer.arm(network.nowMs + ms);
      return timer;
    },
    clear: timer => (timer as { cancel(): void } | undefined)?.cancel(),
  };
}

interface World extends TunnelPair {
  readonly timers: Timers;
  readonly aliceIo: Io;
  readonly bobIo: Io;
}

async function world(): Promise<World> {
  const pair = await tunnelPair();
  const timers = timersOf(pair.network);
  return { ...pair, timers, aliceIo: pair.alice.tunnel as unknown as Io, bobIo: pair.bob.tunnel as unknown as Io };
}

/** Sends some text to Bob's port 80 and collects what comes back until the end. */
async function ask({ network, aliceIo }: World, request: string): Promise<string> {
  let answer = '';
  let isOver = false;
  let rest = ascii(request);
  const tcp: Tcp = new aliceIo.TCP({
    address: '10.0.0.2',
    port: 80,
    onWritable: room => {
      const now = rest.subarray(0, room);
      rest = rest.subarray(now.length);
      if (now.length > 0) tcp.write(now);
    },
    onReadable: () => {
      answer += text(tcp.read() as ArrayBuffer);
    },
    onError: () => {
      isOver = true;
    },
  });
  await until(network, () => isOver);
  tcp.close();
  return answer;
}

const hello = () => ({ status: 200, type: 'text/plain', body: 'hello\n' });

test('a request is answered and the connection ended; other methods and paths are told so', async () => {
  const all = await world();
  const paths: string[] = [];
  const close = serveHttp(all.bobIo, all.timers, 80, path => {
    paths.push(path);
    return hello();
  });
  assert.match(await ask(all, 'GET /a HTTP/1.1\r\nhost: bob\r\n\r\n'), /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nhello\n$/s);
  assert.match(await ask(all, 'DELETE / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 405 /);
  assert.equal(paths, ['/a']);
  close();
  assert.is(await ask(all, 'GET / HTTP/1.1\r\n\r\n'), '');
});

test('a head without an end, and one that never comes, are given up', async () => {
  const all = await world();
  serveHttp(all.bobIo, all.timers, 80, hello);
  assert.is(await ask(all, 'x'.repeat(2100)), '');
  const startMs = all.network.nowMs;
  assert.is(await ask(all, 'GET / HTTP/1.1\r\n'), '');
  assert.ok(all.network.nowMs - startMs < 11_000);
});

test('a long answer is sent in parts as the connection takes it', async () => {
  const all = await world();
  const body = 'a line of some length\n'.repeat(2000);
  serveHttp(all.bobIo, all.timers, 80, () => ({ ...hello(), body }));
  assert.ok((await ask(all, 'GET / HTTP/1.1\r\n\r\n')).endsWith(body));
});

test('a press is posted by name, tried again, and given up in words', async () => {
  const all = await world();
  const { network, timers, bobIo, aliceIo } = all;
  const bodies: string[] = [];
  let failures = 1;
  new bobIo.Listener({
    port: 80,
    onReadable(this: { read(): unknown }) {
      const tcp: Tcp = new bobIo.TCP({
        from: this.read(),
        onReadable: () => {
          const request = text(tcp.read() as ArrayBuffer);
          if (failures-- > 0) return tcp.close();
          bodies.push(request.slice(request.indexOf('\r\n\r\n') + 4));
          tcp.write(ascii('HTTP/1.1 204 No Content\r\n\r\n'));
        },
        onError: () => tcp.close(),
      });
    },
  } as never);
  const log: string[] = [];
  const press = (host: string) =>
    network.until(
      sendPress({
        io: aliceIo,
        timers,
        host,
        port: 80,
        name: 'button',
        count: 7,
        attempts: 2,
        log: line => log.push(line),
      }),
    );
  assert.is(await press('bob'), true);
  assert.equal(bodies, ['{"name":"button","count":7}']);
  assert.equal(log, ['press 7: bob port 80 refused or broke the connection', 'press 7: bob answered 204']);
  assert.is(await press('nobody'), false);
  assert.match(log.at(-1)!, /nobody port 80 has no address/);
});

test('a post to somebody who does not answer, or not in HTTP, fails', async () => {
  const { network, timers, bobIo, aliceIo } = await world();
  let says = '';
  new bobIo.Listener({
    port: 80,
    onReadable(this: { read(): unknown }) {
      const tcp: Tcp = new bobIo.TCP({
        from: this.read(),
        onReadable: () => {
          tcp.read();
          tcp.write(ascii(says));
        },
      });
    },
  } as never);
  const post = () => network.until(postHttp(aliceIo, timers, 'bob', 80, '/', '{}')).catch(error => error.message);
  assert.match(await post(), /did not answer in time/);
  says = '?'.repeat(1025);
  assert.match(await post(), /does not speak HTTP/);
});

/** A broker's side of MQTT, as far as a publisher needs it: what was said, decoded. */
function broker(io: Io, code = 0) {
  const said: string[] = [];
  const open: Tcp[] = [];
  const listener = new io.Listener({
    port: 1883,
    onReadable: () => {
      const tcp: Tcp = new io.TCP({
        from: listener.read(),
        onReadable: () => {
          let bytes = new Uint8Array(tcp.read() as ArrayBuffer);
          while (bytes.length > 0) {
            const long = bytes[1]! > 127;
            const length = long ? (bytes[1]! & 127) + bytes[2]! * 128 : bytes[1]!;
            const body = bytes.slice(long ? 3 : 2, (long ? 3 : 2) + length);
            handle(bytes[0]!, body);
            bytes = bytes.slice((long ? 3 : 2) + length);
          }
        },
        onError: () => tcp.close(),
      });
      open.push(tcp);
      const handle = (type: number, body: Uint8Array) => {
        const part = (at: number) => text(body.slice(at).buffer);
        if (type === 0x10) {
          said.push(`connect ${part(12)}`);
          tcp.write(Uint8Array.of(0x20, 2, 0, code));
        } else if (type === 0x31) {
          const end = 2 + body[1]!;
          said.push(`${text(body.slice(2, end).buffer)}=${part(end)}`);
        } else if (type === 0xc0) {
          said.push('ping');
          tcp.write(Uint8Array.of(0xd0, 0));
        }
      };
    },
  });
  return { said, open, close: () => listener.close() };
}

function sensor(all: World, log: string[] = [], name = 'sensor-1'): () => void {
  const { aliceIo: io, timers } = all;
  let celsius = 20;
  const read = () => (celsius += 0.5);
  return startSensor({ io, timers, read, name, broker: 'bob', intervalMs: 10_000, log: line => log.push(line) });
}

test('a sensor publishes its reading, keeps the connection alive, and serves the reading', async () => {
  const all = await world();
  const { said } = broker(all.bobIo);
  const end = sensor(all);
  await until(all.network, () => said.includes('ping'));
  assert.equal(said.slice(0, 3), [
    'connect sensor-1',
    'sensors/sensor-1/celsius=20.5',
    'sensors/sensor-1/celsius=21.0',
  ]);
  let answer = '';
  const tcp: Tcp = new all.bobIo.TCP({
    address: '10.0.0.1',
    port: 80,
    onWritable: () => answer === '' && tcp.write(ascii('GET / HTTP/1.1\r\n\r\n')),
    onReadable: () => {
      answer += text(tcp.read() as ArrayBuffer);
    },
    onError: () => tcp.close(),
  });
  await until(all.network, () => answer.includes('}'));
  assert.match(answer, /\r\n\r\n\{"name":"sensor-1","celsius":2[0-9]\.[05]\}\n$/);
  end();
  const { length } = said;
  await all.network.advance(60_000);
  assert.is(said.length, length);
});

test('a broker that refuses, breaks or comes back later is tried again, after longer and longer waits', async () => {
  const all = await world();
  const log: string[] = [];
  const end = sensor(all, log);
  await all.network.advance(20_000);
  assert.ok(log.filter(line => line.includes('is gone')).length >= 2);
  assert.match(log.join('\n'), /again in 2 s.*again in 4 s/s);
  const refusing = broker(all.bobIo, 5);
  await until(all.network, () => log.some(line => line.includes('refused the connection (5)')));
  refusing.close();
  for (const tcp of refusing.open) tcp.close();
  const good = broker(all.bobIo);
  await until(all.network, () => good.said.length > 1, 300_000);
  for (const tcp of good.open) tcp.close();
  await until(all.network, () => good.said.filter(line => line.startsWith('connect')).length === 2, 300_000);
  end();
});

test('what is not ASCII is the mistake of the application', () => {
  assert.throws(() => ascii('21 °C'), /expected ASCII/);
});

test.run();
