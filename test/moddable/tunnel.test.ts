import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Decode, utf8Encode } from '../../lib/base/bytes.ts';
import type { TunnelTcp, TunnelTcpOptions } from '../../targets/moddable/tunnel-tcp.ts';
import type { TunnelMessage } from '../../targets/moddable/tunnel-udp.ts';
import { type TunnelPair, tunnelPair, until } from './tunnel-pair.ts';

const test = suite('tunnel as ECMA-419 classes');

/** What an instance called, in order: `r5` readable with 5 bytes, `w` writable, `e` error. */
interface Log {
  readonly calls: string[];
  readonly options: Pick<TunnelTcpOptions, 'onReadable' | 'onWritable' | 'onError'>;
}

function log(): Log {
  const calls: string[] = [];
  return {
    calls,
    options: {
      onReadable: bytes => calls.push(`r${bytes}`),
      onWritable: () => calls.push('w'),
      onError: () => calls.push('e'),
    },
  };
}

function rejectsWith(run: () => unknown, type: new (...all: never[]) => Error, text: string): void {
  assert.throws(run, (error: Error) => error instanceof type && error.message.includes(text));
}

/** A connection from Alice to Bob's port 80, both ends with a log. */
async function connected(pair: TunnelPair) {
  const near = log();
  const far = log();
  const ends: TunnelTcp[] = [];
  const listener = new pair.bob.tunnel.Listener({
    port: 80,
    onReadable(count) {
      while (count-- > 0) ends.push(new pair.bob.tunnel.TCP({ from: this.read(), ...far.options }));
    },
  });
  const tcp = new pair.alice.tunnel.TCP({ address: '10.0.0.2', port: 80, ...near.options });
  await until(pair.network, () => near.calls.includes('w') && far.calls.includes('w'));
  return { tcp, near, end: ends[0]!, far, listener };
}

test('a client is told that it may write, then the server that it may read, never from inside a call', async () => {
  const pair = await tunnelPair();
  const { tcp, near, end, far } = await connected(pair);
  assert.equal([near.calls, far.calls], [['w'], ['w']]);
  assert.equal([tcp.remoteAddress, tcp.remotePort, end.remoteAddress], ['10.0.0.2', 80, '10.0.0.1']);
  const room = tcp.write(utf8Encode('hello'));
  assert.ok(room > 100);
  await until(pair.network, () => far.calls.includes('r5'));
  assert.is(utf8Decode(new Uint8Array(end.read() as ArrayBuffer)), 'hello');
  assert.is(end.read(), undefined);
});

test('the instance is `this` of its callbacks, and carries its target', async () => {
  const pair = await tunnelPair();
  const target = { seen: 0 };
  new pair.bob.tunnel.Listener({ port: 80 });
  const tcp = new pair.alice.tunnel.TCP({
    address: '10.0.0.2',
    port: 80,
    target,
    onWritable(this: TunnelTcp & { target?: typeof target }) {
      assert.is(this, tcp);
      this.target!.seen++;
    },
  });
  await until(pair.network, () => target.seen === 1);
  assert.not.ok('target' in new pair.alice.tunnel.UDP({}));
});

test('format number reads and writes single bytes, and can be switched at any time', async () => {
  const pair = await tunnelPair();
  const { tcp, end, far } = await connected(pair);
  assert.is(tcp.format, 'buffer');
  tcp.format = 'number';
  tcp.write(65);
  tcp.write(66);
  tcp.format = 'buffer';
  tcp.write(utf8Encode('CD'));
  await until(pair.network, () => far.calls.includes('r4'));
  end.format = 'number';
  assert.equal([end.read(), end.read()], [65, 66]);
  end.format = 'buffer';
  assert.equal(new Uint8Array(end.read(2) as ArrayBuffer), Uint8Array.of(67, 68));
  rejectsWith(() => (end.format = 'text' as 'buffer'), RangeError, 'format');
  rejectsWith(
    () => new pair.alice.tunnel.TCP({ address: '10.0.0.2', port: 80, format: 'x' as 'buffer' }),
    RangeError,
    'x',
  );
});

test('a buffer is filled whole or not at all, whatever kind it is', async () => {
  const pair = await tunnelPair();
  const { tcp, end, far } = await connected(pair);
  tcp.write(new DataView(Uint8Array.of(9, 1, 2, 3, 4, 5, 6, 9).buffer, 1, 6));
  await until(pair.network, () => far.calls.includes('r6'));
  const memory = new Uint8Array(8);
  assert.is(end.read(memory.subarray(2, 4)), 2);
  assert.equal(memory, Uint8Array.of(0, 0, 1, 2, 0, 0, 0, 0));
  rejectsWith(() => end.read(5), Error, 'invalid');
  rejectsWith(() => end.read(new Uint16Array(2)), TypeError, 'buffer');
  const whole = new ArrayBuffer(3);
  assert.is(end.read(whole), 3);
  assert.equal(new Uint8Array(whole), Uint8Array.of(3, 4, 5));
  assert.equal(new Uint8Array(end.read() as ArrayBuffer), Uint8Array.of(6));
});

test('a write before the connection stands is not ready, one that does not fit would block', async () => {
  const pair = await tunnelPair();
  new pair.bob.tunnel.Listener({ port: 80 });
  let room = 0;
  const tcp = new pair.alice.tunnel.TCP({
    address: '10.0.0.2',
    port: 80,
    onWritable: bytes => {
      room = bytes;
    },
  });
  rejectsWith(() => tcp.write(Uint8Array.of(1)), Error, 'not ready');
  await until(pair.network, () => room > 0);
  rejectsWith(() => tcp.write(new Uint8Array(room + 1)), Error, 'would block');
  assert.is(tcp.write(new Uint8Array(room)), 0);
  rejectsWith(() => tcp.write(Uint8Array.of(1)), Error, 'would block');
});

test('who writes all that fits is told when more fits, and everything arrives in order', async () => {
  const pair = await tunnelPair();
  const total = 100_000;
  let sent = 0;
  let received = 0;
  let isIntact = true;
  new pair.bob.tunnel.Listener({
    port: 80,
    onReadable() {
      new pair.bob.tunnel.TCP({
        from: this.read(),
        onReadable() {
          for (const byte of new Uint8Array(this.read() as ArrayBuffer)) isIntact &&= byte === (received++ * 7) % 251;
        },
      });
    },
  });
  new pair.alice.tunnel.TCP({
    address: '10.0.0.2',
    port: 80,
    onWritable(room) {
      const bytes = new Uint8Array(Math.min(room, total - sent));
      if (bytes.length === 0) return;
      for (let i = 0; i < bytes.length; i++) bytes[i] = (sent++ * 7) % 251;
      this.write(bytes);
      bytes.fill(255); // copied
    },
  });
  await until(pair.network, () => received === total);
  assert.ok(isIntact);
});

test('the end of the other side is told once, when all that came before has been read', async () => {
  const pair = await tunnelPair();
  const { tcp, end, far } = await connected(pair);
  tcp.write(utf8Encode('last words'));
  tcp.close();
  await until(pair.network, () => far.calls.includes('r10'));
  await pair.network.advance(1000);
  assert.equal(far.calls, ['w', 'r10']);
  end.read(4);
  await pair.network.advance(100);
  assert.equal(far.calls, ['w', 'r10']);
  assert.is(utf8Decode(new Uint8Array(end.read() as ArrayBuffer)), ' words');
  await pair.network.advance(100);
  assert.equal(far.calls, ['w', 'r10', 'e']);
  rejectsWith(() => end.write(Uint8Array.of(1)), Error, 'not ready');
  end.close();
  await pair.network.advance(200_000);
  assert.equal(far.calls, ['w', 'r10', 'e']);
  assert.equal([pair.alice.mote.status().connections, pair.bob.mote.status().connections], [0, 0]);
});

test('a refused connection, and one to nowhere, end with onError', async () => {
  const pair = await tunnelPair();
  for (const address of ['10.0.0.2', '10.0.0.77', 'no-such-name']) {
    const { calls, options } = log();
    const tcp = new pair.alice.tunnel.TCP({ address, port: 81, ...options });
    await until(pair.network, () => calls.length > 0);
    assert.equal(calls, ['e']);
    tcp.close();
  }
});

test('no callback follows close, whatever is on its way', async () => {
  const pair = await tunnelPair();
  const { tcp, near, end } = await connected(pair);
  end.write(utf8Encode('on its way'));
  tcp.close();
  tcp.close();
  await pair.network.advance(5000);
  assert.equal(near.calls, ['w']);
  rejectsWith(() => tcp.read(), Error, 'closed');
  rejectsWith(() => tcp.write(Uint8Array.of(1)), Error, 'closed');
  const early = log();
  new pair.alice.tunnel.TCP({ address: '10.0.0.2', port: 80, ...early.options }).close();
  await pair.network.advance(5000);
  assert.equal(early.calls, []);
  assert.is(pair.alice.mote.status().connections, 0);
});

test('a connection is handed on with what has arrived, and only between instances of one tunnel', async () => {
  const pair = await tunnelPair();
  const { tcp, end, far } = await connected(pair);
  tcp.write(utf8Encode('abc'));
  await until(pair.network, () => far.calls.includes('r3'));
  const next = log();
  const taken = new pair.bob.tunnel.TCP({ from: end, ...next.options });
  await pair.network.advance(10);
  assert.equal(next.calls, ['r3', 'w']);
  assert.is(utf8Decode(new Uint8Array(taken.read() as ArrayBuffer)), 'abc');
  rejectsWith(() => end.read(), Error, 'closed');
  rejectsWith(() => new pair.bob.tunnel.TCP({ from: end }), Error, 'from');
  rejectsWith(() => new pair.alice.tunnel.TCP({ from: taken }), Error, 'from');
});

test('a connection that has ended before anybody took it gives what it brought, then its end', async () => {
  const pair = await tunnelPair();
  let waiting = 0;
  const listener = new pair.bob.tunnel.Listener({
    port: 80,
    onReadable: count => {
      waiting = count;
    },
  });
  const tcp = new pair.alice.tunnel.TCP({
    address: '10.0.0.2',
    port: 80,
    onWritable: () => {
      tcp.write(utf8Encode('brief'));
      tcp.close();
    },
  });
  await until(pair.network, () => waiting === 1);
  await pair.network.advance(5000);
  const { calls, options } = log();
  const end = new pair.bob.tunnel.TCP({ from: listener.read(), ...options });
  await pair.network.advance(10);
  assert.equal(calls, ['r5', 'w']);
  assert.is(utf8Decode(new Uint8Array(end.read() as ArrayBuffer)), 'brief');
  await pair.network.advance(10);
  assert.equal(calls, ['r5', 'w', 'e']);
});

test('a mistake in the options throws in the constructor', async () => {
  const { alice } = await tunnelPair();
  const { TCP, Listener, UDP } = alice.tunnel;
  for (const port of [0, 65_536, 1.5, Number.NaN, undefined])
    rejectsWith(() => new TCP({ address: '10.0.0.2', port: port as number }), RangeError, 'port');
  rejectsWith(() => new TCP({ port: 80 }), Error, 'address');
  rejectsWith(() => new TCP(undefined as never), TypeError, 'options');
  rejectsWith(() => new Listener({ port: 0 }), RangeError, 'port');
  rejectsWith(() => new Listener({ port: 80, format: 'buffer' as 'socket/tcp' }), RangeError, 'format');
  rejectsWith(() => new UDP({ port: -1 }), RangeError, 'port');
  rejectsWith(() => new UDP({ format: 'number' as 'buffer' }), RangeError, 'format');
  rejectsWith(() => new UDP({ multicast: '224.0.0.251' } as object), RangeError, 'multicast');
});

test('a listener holds its port until it is closed, and a second one is told', async () => {
  const pair = await tunnelPair();
  const { Listener } = pair.bob.tunnel;
  const first = new Listener({ port: 80 });
  let errors = 0;
  const count = () => {
    errors++;
  };
  new Listener({ port: 80, onError: count });
  await pair.network.advance(10);
  assert.equal([first.port, errors], [80, 1]);
  first.close();
  first.close();
  rejectsWith(() => first.read(), Error, 'closed');
  new Listener({ port: 80, onError: count });
  await pair.network.advance(10);
  assert.is(errors, 1);
});

test('connections that nobody reads wait up to a bound, and are reset when the listener closes', async () => {
  const pair = await tunnelPair();
  const listener = new pair.bob.tunnel.Listener({ port: 80 });
  const logs = Array.from({ length: 12 }, () => log());
  for (const { options } of logs) new pair.alice.tunnel.TCP({ address: '10.0.0.2', port: 80, ...options });
  await pair.network.advance(3000);
  assert.ok(pair.bob.mote.status().connections <= 17);
  listener.close();
  await pair.network.advance(60_000);
  assert.ok(logs.every(({ calls }) => calls.at(-1) === 'e'));
});

test('datagrams go both ways with their sender, also those written before the socket stands', async () => {
  const pair = await tunnelPair();
  const got: string[] = [];
  new pair.bob.tunnel.UDP({
    port: 9,
    onReadable(count) {
      while (count-- > 0) {
        const message = this.read()!;
        this.write(message, message.address, message.port);
      }
    },
  });
  await pair.network.advance(1);
  let answer: TunnelMessage | undefined;
  const client = new pair.alice.tunnel.UDP({
    onReadable(count) {
      while (count-- > 0) {
        answer = this.read()!;
        got.push(utf8Decode(new Uint8Array(answer)));
      }
      assert.is(this.read(), undefined);
    },
  });
  for (const text of ['one', 'two', 'three']) client.write(utf8Encode(text), '10.0.0.2', 9);
  await until(pair.network, () => got.length === 3);
  client.write(utf8Encode('four').buffer as ArrayBuffer, '10.0.0.2', 9);
  await until(pair.network, () => got.length === 4);
  assert.equal(got, ['one', 'two', 'three', 'four']);
  assert.equal([answer!.address, answer!.port], ['10.0.0.2', 9]);
  rejectsWith(() => client.write(utf8Encode('x'), 'bob', 9), RangeError, 'address');
  rejectsWith(() => client.write(new Uint8Array(70_000), '10.0.0.2', 9), Error, 'send failed');
  client.close();
  client.close();
  rejectsWith(() => client.write(utf8Encode('x'), '10.0.0.2', 9), Error, 'closed');
});

test('datagrams that nobody reads are bounded, and a taken port is told', async () => {
  const pair = await tunnelPair();
  let errors = 0;
  let announced = 0;
  const lazy = new pair.bob.tunnel.UDP({
    port: 9,
    onReadable: count => {
      announced = count;
    },
  });
  new pair.bob.tunnel.UDP({
    port: 9,
    onError: () => {
      errors++;
    },
  });
  const client = new pair.alice.tunnel.UDP();
  await pair.network.advance(10);
  for (let i = 0; i < 100; i++) {
    client.write(Uint8Array.of(i), '10.0.0.2', 9);
    await pair.network.advance(5);
  }
  assert.equal([errors, announced], [1, 8]);
  const first: number[] = [];
  for (let got = lazy.read(); got !== undefined; got = lazy.read()) {
    first.push(new Uint8Array(got)[0]!);
    await pair.network.advance(1);
  }
  assert.ok(first.length >= 8 && first.length <= 32, `${first.length}`);
  assert.equal(
    first,
    Array.from(first, (_, i) => i),
  );
});

test('names of the tailnet resolve, addresses are themselves, others are an error', async () => {
  const pair = await tunnelPair();
  const resolver = new pair.alice.tunnel.Resolver({ servers: ['1.1.1.1'] });
  const answers: string[] = [];
  for (const host of ['bob', '10.0.0.9', 'example.com'])
    resolver.resolve({
      host,
      onResolved: (name, address) => answers.push(`${name} ${address}`),
      onError: name => answers.push(`${name} unknown`),
    });
  assert.equal(answers, []);
  await pair.network.advance(1);
  assert.equal(answers, ['bob 10.0.0.2', '10.0.0.9 10.0.0.9', 'example.com unknown']);
  rejectsWith(() => resolver.resolve({ host: 'bob' }), Error, 'callback');
  resolver.resolve({ host: 'bob', onResolved: () => answers.push('late') });
  resolver.close();
  await pair.network.advance(1);
  assert.is(answers.length, 3);
  rejectsWith(() => resolver.resolve({ host: 'bob', onError: () => undefined }), Error, 'closed');
});

test('what is open ends with the mote', async () => {
  const pair = await tunnelPair();
  const { near, listener } = await connected(pair);
  let told = 0;
  new pair.bob.tunnel.UDP({
    onError: () => {
      told++;
    },
  });
  await pair.network.advance(10);
  await pair.bob.mote.close();
  await pair.network.advance(1000);
  assert.equal(near.calls, ['w', 'e']);
  assert.is(told, 1);
  listener.close();
});

test.run();
