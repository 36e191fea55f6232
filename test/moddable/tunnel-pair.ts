/** Two motes in memory, with their tunnels as ECMA-419 classes. */
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import { Mote } from '../../lib/mote/mote.ts';
import { createTunnel, type Tunnel } from '../../targets/moddable/tunnel.ts';
import { MemoryNetwork, seededRandom } from '../sim/memory-host.ts';

/** One member, and its io classes. */
export interface Member {
  readonly mote: Mote;
  readonly tunnel: Tunnel;
}

/** Alice (10.0.0.1) and Bob (10.0.0.2, whom Alice calls "bob"), both on the small preset. */
export interface TunnelPair {
  readonly network: MemoryNetwork;
  readonly alice: Member;
  readonly bob: Member;
}

const crypto = createNobleSuite();

function key(seed: number): { secret: SecretKey; text: string } {
  const secret = SecretKey.generate(seededRandom(seed));
  const out = new Uint8Array(32);
  crypto.publicKey(out, secret.bytes);
  return { secret, text: SecretKey.fromBytes(out).toBase64() };
}

/** Brings both up. */
export async function tunnelPair(): Promise<TunnelPair> {
  const network = new MemoryNetwork();
  const keys = [key(1), key(2)] as const;
  const member = async (own: 0 | 1): Promise<Member> => {
    const other = own === 0 ? 1 : 0;
    const mote = await Mote.up(
      network.host(`192.0.2.${own + 1}`, own + 11),
      crypto,
      {
        privateKey: keys[own].secret,
        addresses: [`10.0.0.${own + 1}/24`],
        listenPort: 1111,
        preset: 'small',
        hosts: { bob: '10.0.0.2' },
        peers: [
          {
            publicKey: keys[other].text,
            endpoint: `192.0.2.${other + 1}:1111`,
            allowedIPs: [`10.0.0.${other + 1}/32`],
          },
        ],
      },
      ALL_PARTS,
    );
    return { mote, tunnel: createTunnel(mote) };
  };
  return { network, alice: await member(0), bob: await member(1) };
}

/** Lets time pass until something holds; fails after `limitMs` of virtual time. */
export async function until(network: MemoryNetwork, condition: () => boolean, limitMs = 60_000): Promise<void> {
  for (let ms = 0; !condition(); ms += 5) {
    if (ms > limitMs) throw new Error(`waited in vain for ${condition}`);
    await network.advance(5);
  }
}
