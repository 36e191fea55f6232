/**
 * A whole mote on the engine as a host of a `MemoryNetwork`: its sockets, timers and clock are the network's, everything
 * else runs in the engine (remote-device.ts has the other side, and says what the frames are).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Endpoint } from '../../lib/base/address.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { Datagrams, Host, HostStream, StreamTlsOptions, Timer } from '../../lib/ports.ts';
import { bundleForXs } from '../../targets/build-xs.ts';
import type { MemoryNetwork } from '../sim/memory-host.ts';
import { ROOT } from '../tools/files.ts';
import type { EngineLink, FrameOut } from './engine-link.ts';
import type { Command } from './remote-device.ts';

/** What the port of a board reads from a stream at a time (targets/moddable/streams.ts). */
const READ_BYTES = 1460;

/** Suites that a mote on the engine may have. */
export type SuiteName = 'noble' | 'tuned' | 'native';

const SUITES: { readonly [name in SuiteName]: string } = Object.freeze({
  noble: `import { createNobleSuite as create } from ${moduleText('lib/crypto/noble.ts')};`,
  tuned: `import { createTunedSuite as create } from ${moduleText('lib/crypto/tuned.ts')};`,
  native: `import * as native from ${moduleText('targets/moddable/native/crypto.js')};
    import { createNativeSuite } from ${moduleText('targets/moddable/native-suite.ts')};
    const create = () => createNativeSuite(native);`,
});

/** The import that makes `create` the suite's constructor. */
export function suiteImport(name: SuiteName): string {
  return SUITES[name];
}

/** A module of the repository as text for an import. */
export function moduleText(name: string): string {
  return JSON.stringify(join(ROOT, name));
}

/** Bundles a script for the engine, as the module for boards is made; local names are short ones if `isShort`. */
export async function bundleForEngine(contents: string, isShort = false): Promise<string> {
  return `(() => {\n"use strict";\n${await bundleForXs({ contents, folder: ROOT, isShort })}})();`;
}

/** Writes the script of a mote on the engine with one suite; returns its path. */
export async function writeMoteScript(folder: string, suite: SuiteName, isShort = false): Promise<string> {
  const contents = `${suiteImport(suite)}
    import { serveDevice } from ${moduleText('test/xs/remote-device.ts')};
    serveDevice(globalThis.__shell, create());
    delete globalThis.__shell;`;
  const code = await bundleForEngine(contents, isShort);
  const file = join(folder, `mote-${suite}.js`);
  writeFileSync(file, `globalThis.native = globalThis.__shell.native;\n${code}`);
  return file;
}

interface Waiter {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** One mote on one engine. */
export class RemoteMote {
  readonly #link: EngineLink;
  readonly #network: MemoryNetwork;
  readonly #host: Host;
  readonly #address: string;
  readonly #streams = new Map<number, HostStream>();
  readonly #timers = new Map<number, Timer>();
  readonly #waiters = new Map<number, Waiter>();
  /** TLS of streams by port; the mote speaks plain to this side. */
  readonly #tls = new Map<number, StreamTlsOptions>();
  #datagrams: Promise<Datagrams> | undefined;
  #next = 1;
  /** Frames are for callgrind from now on. */
  isCounted = false;
  /** Called with every datagram that the mote sends outside. */
  onDatagram: (bytes: Uint8Array) => void = () => {};

  constructor(link: EngineLink, network: MemoryNetwork, address: string, seed: number) {
    this.#link = link;
    this.#network = network;
    this.#address = address;
    this.#host = network.host(address, seed);
  }

  /** Has the mote do something; settles as the network's time passes. */
  command<T>(command: Command): Promise<T> {
    const id = this.#next++;
    const answer = new Promise<T>((resolve, reject) => this.#waiters.set(id, { resolve, reject }));
    this.#send('C', id, Buffer.from(JSON.stringify(command)));
    return answer;
  }

  /** What the mote has in flash: hex by name. */
  stored: { [name: string]: string } = {};

  /** Joins. */
  up(options: object, seed = 5, stored: { readonly [name: string]: string } = {}): Promise<readonly string[]> {
    this.stored = { ...stored };
    return this.command({ type: 'up', address: this.#address, seed, options, stored });
  }

  #send(letter: string, id: number, content: Uint8Array = new Uint8Array(0)): void {
    const frame = Buffer.alloc(21 + content.length);
    frame.writeDoubleLE(this.#network.nowMs, 0);
    frame.writeDoubleLE(this.#host.clock.unixMs(), 8);
    frame.write(letter, 16, 'latin1');
    frame.writeUInt32LE(id, 17);
    frame.set(content, 21);
    const answers = this.#link.send(this.isCounted ? 'counted' : 'script', frame);
    // What the mote did comes about in turn: a stream that fails at once must not be told of inside of this call.
    for (const answer of answers) this.#take(answer);
  }

  #take({ text, bytes }: FrameOut): void {
    const [letter, first = '', ...rest] = text.split(' ');
    const id = Number(first);
    switch (letter) {
      case 'D':
        this.onDatagram(bytes);
        void this.#datagrams?.then(socket =>
          socket.send(bytes, 0, bytes.length, { address: first, port: Number(rest[0]) }),
        );
        return;
      case 'L':
        this.#open(id);
        return;
      case 'V':
        if (bytes.length === 0) delete this.stored[first];
        else this.stored[first] = Buffer.from(bytes).toString('hex');
        return;
      case 'X':
        void this.#datagrams?.then(socket => socket.close());
        return;
      case 'S':
        this.#tls.set(id, { serverName: rest[0]!, ...(rest[1] === '' ? {} : { pin: Buffer.from(rest[1]!, 'hex') }) });
        return;
      case 'O':
        return this.#openStream(id, rest[0]!, Number(rest[1]));
      case 'W':
        if (this.#streams.get(id)?.write(bytes, 0, bytes.length) !== bytes.length) this.#overflow(id);
        return;
      case 'K':
        this.#streams.get(id)?.close();
        this.#streams.delete(id);
        return;
      case 'T':
        return this.#arm(id, Number(rest[0]));
      case 'R':
        return this.#answer(id, JSON.parse(bytes.toString()) as never);
      case 'R!':
        this.#waiters.get(id)?.reject(new Error(rest.join(' ')));
        return;
      default:
        throw new Error(`an unknown frame: ${text}`);
    }
  }

  #answer(id: number, value: never): void {
    this.#waiters.get(id)?.resolve(value);
    this.#waiters.delete(id);
  }

  #open(port: number): void {
    const options = { port };
    const sink = {
      datagram: (buf: Uint8Array, start: number, end: number, from: Endpoint) => {
        const address = Buffer.from(from.address);
        const content = Buffer.alloc(1 + address.length + 2 + end - start);
        content[0] = address.length;
        content.set(address, 1);
        content.writeUInt16LE(from.port, 1 + address.length);
        content.set(buf.subarray(start, end), 3 + address.length);
        this.#send('D', 0, content);
      },
      failed: () => {},
    };
    this.#datagrams = this.#host.openDatagrams(options, sink);
  }

  #openStream(id: number, host: string, port: number): void {
    const tls = this.#tls.get(port);
    const stream = this.#host.openStream(tls === undefined ? { host, port } : { host, port, tls }, {
      opened: () => this.#send('O', id),
      bytes: (buf, start, end) => {
        for (let at = start; at < end; at += READ_BYTES)
          this.#send('B', id, buf.subarray(at, Math.min(at + READ_BYTES, end)));
      },
      writable: () => {},
      ended: () => this.#send('E', id),
      failed: () => {
        this.#streams.delete(id);
        this.#send('E', id);
      },
    });
    this.#streams.set(id, stream);
  }

  /** More than a stream of the network takes at a time would have to wait here; the stories never come to that. */
  #overflow(id: number): void {
    throw new NetError('ERR_LIMIT', `stream ${id} is full`);
  }

  #arm(id: number, atMs: number): void {
    this.#timers.get(id)?.cancel();
    this.#timers.delete(id);
    if (atMs === Number.POSITIVE_INFINITY) return;
    const timer = this.#host.createTimer(() => {
      this.#timers.delete(id);
      this.#send('T', id);
    });
    this.#timers.set(id, timer);
    timer.arm(atMs);
  }
}
