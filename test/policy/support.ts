/** Policies and devices in few words: what tests of policies share. Neutral. */
import { parsePrefix } from '../../lib/base/address.ts';
import { DropCounters } from '../../lib/base/drop.ts';
import { PacketFilter } from '../../lib/filter/filter.ts';
import { FILTER_LIMITS_LARGE } from '../../lib/filter/limits.ts';
import { classify, Packet } from '../../lib/packet/classify.ts';
import { PolicyCompiler } from '../../lib/policy/compiler.ts';
import type { PolicyDevice } from '../../lib/policy/directory.ts';
import { parsePolicy } from '../../lib/policy/parse.ts';
import type { Policy } from '../../lib/policy/policy.ts';
import { formatProblem } from '../../lib/policy/problem.ts';
import { datagram, icmp, ipPacket, sctp, segment, tcpHeader } from '../filter/support.ts';

/** IPv4 and IPv6 address of device `id`. */
export function addressesOf(id: number): readonly [string, string] {
  return [`100.64.0.${id}`, `fd7a:115c:a1e0::${id.toString(16)}`];
}

/** A device of a user, or of tags when `who` begins with `tag:`. */
export function device(id: number, who: string, ...routes: string[]): PolicyDevice {
  const tags = who.startsWith('tag:') ? who.split(' ') : [];
  return { id, addresses: addressesOf(id), user: tags.length > 0 ? '' : who, tags, routes };
}

/** A policy that must be right; an object is written as JSON. */
export function policyOf(source: string | object): Policy {
  const result = parsePolicy(typeof source === 'string' ? source : JSON.stringify(source));
  if (result.policy === undefined) throw new Error(result.errors.map(formatProblem).join('\n'));
  return result.policy;
}

/** A compiler of both. */
export function compile(source: string | object, ...devices: PolicyDevice[]): PolicyCompiler {
  return new PolicyCompiler(policyOf(source), devices);
}

/** The first problem of a policy that must be wrong. */
export function problemOf(source: string | object): string {
  const result = parsePolicy(typeof source === 'string' ? source : JSON.stringify(source));
  if (result.policy !== undefined) throw new Error('the policy was accepted');
  return formatProblem(result.errors[0]!);
}

/** Whether the filter that a device is given lets a packet in. */
export function passes(
  compiler: PolicyCompiler,
  id: number,
  source: string,
  destination: string,
  port: number,
  protocol: number,
): boolean {
  const { addresses, routes } = compiler.directory.members.get(id)!.device;
  const filter = new PacketFilter({ limits: FILTER_LIMITS_LARGE, drops: new DropCounters() });
  const self = [...addresses, ...routes].map(text => parsePrefix(text)!);
  filter.setRules(compiler.rulesFor(id), self);
  if (filter.malformed > 0) throw new Error('the filter has malformed rules');
  return letsIn(filter, packetOf(source, destination, port, protocol));
}

/** Whether a filter lets a packet in. */
export function letsIn(filter: PacketFilter, bytes: Uint8Array): boolean {
  const packet = new Packet();
  if (classify(bytes, 0, bytes.length, packet) < 0) throw new Error('the test has made a bad packet');
  return filter.handleInbound(1000, packet, bytes, 0, bytes.length) === 0;
}

/** A packet that needs a rule. */
export function packetOf(source: string, destination: string, port: number, protocol: number): Uint8Array {
  if (protocol === 6) return segment(source, destination, port);
  if (protocol === 17) return datagram(source, 40_000, destination, port);
  if (protocol === 132) return sctp(source, 40_000, destination, port);
  // ICMP of the other family is a protocol like any other.
  const isIcmp = protocol === (destination.includes(':') ? 58 : 1);
  if (isIcmp) return icmp(source, destination, protocol === 1 ? 8 : 128);
  return ipPacket(source, destination, protocol, tcpHeader(1, 2, 0));
}
