/**
 * The ways to the internet that tests put hosts behind: every mapping × filtering of RFC 4787, and what is common
 * beside them. Test-only.
 */
import type { Dependence, NatBehaviour } from './nat.ts';
import type { Behaviour } from './oracle.ts';

const SHORT = { 'endpoint-independent': 'ei', 'address-dependent': 'ad', 'address-and-port-dependent': 'apd' } as const;
const DEPENDENCES = Object.keys(SHORT) as Dependence[];

function nat(mapping: NatBehaviour['mapping'], filtering: Dependence, more: Partial<NatBehaviour> = {}): NatBehaviour {
  return { mapping, filtering, ...more };
}

/** The nine of RFC 4787, named `mapping-filtering` (`ei-apd` is what was called port-restricted cone). */
export const NAT_BEHAVIOURS: ReadonlyMap<string, NatBehaviour> = new Map(
  DEPENDENCES.flatMap(mapping =>
    DEPENDENCES.map(filtering => [`${SHORT[mapping]}-${SHORT[filtering]}`, nat(mapping, filtering)] as const),
  ),
);

const HOME = nat('endpoint-independent', 'address-and-port-dependent', { ports: 'preserved' });
const STRICT = nat('address-and-port-dependent', 'address-and-port-dependent');

/** All that the matrix pairs: the nine, no NAT, a firewall, a Linux masquerade, NATs behind NATs, and no UDP. */
export const BEHAVIOURS: ReadonlyMap<string, Behaviour> = new Map<string, Behaviour>([
  ['none', { way: [] }],
  ['firewall', { way: [nat('none', 'address-and-port-dependent')] }],
  ...[...NAT_BEHAVIOURS].map(([name, behaviour]) => [name, { way: [behaviour] }] as const),
  ['linux', { way: [nat('address-and-port-dependent', 'address-and-port-dependent', { ports: 'preserved' })] }],
  ['double', { way: [HOME, nat('endpoint-independent', 'endpoint-independent')] }],
  ['double-strict', { way: [HOME, STRICT] }],
  ['blocked', { isBlocked: true }],
]);

/** Those of {@link BEHAVIOURS} that are kinds of others: not every seed has them. */
export const EXTRA_BEHAVIOURS: ReadonlySet<string> = new Set(['firewall', 'linux', 'double-strict']);
