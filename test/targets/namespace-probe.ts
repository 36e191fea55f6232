/**
 * The program of namespace.test.ts, on any runtime, inside a network namespace: `RUNTIME local`, `RUNTIME interfaces`,
 * `RUNTIME fill ADDRESS` or `RUNTIME collect PORT`. Prints one JSON object.
 */
import { argv, exit, stdin } from 'node:process';
import type { Datagrams, DatagramSink, Host } from '../../lib/ports.ts';

const [runtime, mode, argument] = argv.slice(2);
const { host } = (await import(`../../targets/${runtime}/host.ts`)) as { host: Host };

const PAYLOAD_BYTES = 1000;
const deaf: DatagramSink = { datagram: () => undefined, failed: () => undefined };

function print(value: object): void {
  console.log(JSON.stringify(value));
}

function local(socket: Datagrams): object {
  const sentV6 = socket.send(new Uint8Array(1), 0, 1, { address: '::1', port: 9 });
  const sentV4 = socket.send(new Uint8Array(1), 0, 1, { address: '127.0.0.1', port: 9 });
  return { local: socket.local, sentV4, sentV6 };
}

/** Sends numbered datagrams without waiting until the socket is full; the memory is spoiled after each. */
function fill(socket: Datagrams, address: string): object {
  const memory = new Uint8Array(PAYLOAD_BYTES);
  let taken = 0;
  while (taken < 200_000) {
    memory.fill(taken & 255);
    memory.set([taken >>> 16, taken >>> 8, taken]);
    if (!socket.send(memory, 0, PAYLOAD_BYTES, { address, port: 4000 })) break;
    memory.fill(0xee);
    taken++;
  }
  return { taken, isFull: taken < 200_000 };
}

/** Receives until standard input ends; how many came, how many of them spoiled, and the highest numbers. */
function collect(): DatagramSink & { result(): object } {
  const numbers: number[] = [];
  let spoiled = 0;
  return {
    datagram: (buf, start, end) => {
      const number = (buf[start]! << 16) | (buf[start + 1]! << 8) | buf[start + 2]!;
      if (end - start !== PAYLOAD_BYTES || buf.subarray(start + 3, end).some(byte => byte !== (number & 255)))
        spoiled++;
      numbers.push(number);
    },
    failed: () => undefined,
    result: () => ({ count: numbers.length, spoiled, last: numbers.sort((a, b) => a - b).slice(-64) }),
  };
}

if (mode === 'local') {
  const socket = await host.openDatagrams({ port: 0 }, deaf);
  print(local(socket));
  exit(0);
} else if (mode === 'interfaces') {
  print({ addresses: host.interfaces!() });
  exit(0);
} else if (mode === 'fill') {
  const socket = await host.openDatagrams({ port: 0 }, deaf);
  print(fill(socket, argument!));
} else {
  const sink = collect();
  await host.openDatagrams({ port: Number(argument) }, sink);
  print({ isReady: true });
  stdin.resume();
  stdin.on('end', () => {
    print(sink.result());
    exit(0);
  });
}
