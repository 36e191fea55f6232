/** The engine's side of counting instructions: operations of a suite, each inside of a function that callgrind watches. */
import type { Cipher, CryptoSuite } from '../../lib/crypto/suite.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { Handshaker } from '../../lib/wireguard/handshake.ts';

/** What the shell lends (shell.c). */
interface Shell {
  print(text: string): void;
  steps(): number;
  counted(run: () => void): void;
}

/** A full packet. */
const PACKET_BYTES = 1420;
const TAG_BYTES = 16;

/**
 * Does `what` so many times and prints the engine's steps for it. A handshake is the initiator's part: the initiation is
 * written, the response read; `helper` answers, uncounted. One round before is not counted either.
 */
export function runOps(shell: Shell, suite: CryptoSuite, helper: CryptoSuite, what: string, count: number): void {
  const once = what === 'seal' ? sealer(suite) : handshaker(suite, helper);
  let steps = 0;
  const counted = (run: () => void) => {
    const before = shell.steps();
    shell.counted(run);
    steps += shell.steps() - before;
  };
  once(run => run());
  for (let i = 0; i < count; i++) once(counted);
  shell.print(JSON.stringify({ steps }));
}

type Count = (run: () => void) => void;

function sealer(suite: CryptoSuite): (count: Count) => void {
  const cipher: Cipher = suite.createCipher(new Uint8Array(32).fill(7));
  const buf = new Uint8Array(PACKET_BYTES + TAG_BYTES);
  let counter = 0;
  return count => count(() => cipher.seal(counter++, buf, 0, PACKET_BYTES));
}

function handshaker(suite: CryptoSuite, helper: CryptoSuite): (count: Count) => void {
  let seed = 1;
  const random = (out: Uint8Array) => {
    for (let i = 0; i < out.length; i++) out[i] = (seed = (Math.imul(seed, 1_103_515_245) + 12_345) | 0) >>> 16;
  };
  const initiator = new Handshaker(suite, random, SecretKey.generate(random));
  const responder = new Handshaker(helper, random, SecretKey.generate(random));
  const [own, theirs] = [initiator.publicKey, responder.publicKey];
  const staticStatic = initiator.staticStatic(theirs)!;
  const psk = new Uint8Array(32);
  const [first, second] = [new Uint8Array(148), new Uint8Array(92)];
  let tick = 1_000_000;
  return count => {
    let pending: ReturnType<Handshaker['writeInitiation']>;
    const o = { peerId: 0, localIndex: 1, remoteStatic: theirs, staticStatic, tick: tick++, cookie: undefined };
    count(() => {
      pending = initiator.writeInitiation(first, 0, o);
    });
    const remoteStatic = new Uint8Array(32);
    const received = responder.readInitiationStatic(first, 0, remoteStatic);
    if (typeof received === 'number') throw new Error('the initiation does not open');
    const answered = responder.readInitiationTimestamp(received, first, 0, staticStatic, new Uint8Array(12));
    if (answered !== 0) throw new Error('the timestamp does not open');
    responder.writeResponse(second, 0, received, { localIndex: 2, remoteStatic: own, psk, cookie: undefined });
    count(() => {
      if (typeof initiator.readResponse(pending!, second, 0, psk) === 'number')
        throw new Error('the response does not open');
    });
  };
}
