/**
 * Whether two hosts can talk directly: worked out from RFC 4787 alone, by reasoning on behaviours. It shares no code
 * with the NATs of this world or with the path layer that is measured against it.
 *
 * What the hosts are taken to know: each other's endpoint as a third host on the internet saw it (the reflexive
 * endpoint), and the source of whatever reaches them. They send to all of these, again and again. Nobody guesses ports.
 */
import type { NatBehaviour } from './nat.ts';

/** A host's way to the internet: the NATs and firewalls on it, the nearest first; or no UDP at all. */
export type Behaviour =
  | { readonly isBlocked: true }
  | { readonly isBlocked?: false; readonly way: readonly NatBehaviour[] };

/** Whether both directions can be direct. */
export function canBeDirect(a: Behaviour, b: Behaviour): boolean {
  if (a.isBlocked === true || b.isBlocked === true) return false;
  // One of the two must get a first datagram through, and its answer back to where that came from.
  return (reaches(a.way, b.way) && returns(b.way, a.way)) || (reaches(b.way, a.way) && returns(a.way, b.way));
}

/**
 * Two hosts behind the same outer NAT, each with a way of its own up to it. They see each other as `outer` shows them,
 * so all depends on whether it turns around what is addressed to itself.
 */
export function canBeDirectInside(outer: NatBehaviour, a: Behaviour, b: Behaviour): boolean {
  if (a.isBlocked === true || b.isBlocked === true || outer.hairpins !== true) return false;
  return canBeDirect({ way: [...a.way, outer] }, { way: [...b.way, outer] });
}

/** One outside endpoint for all remotes: what a third host saw is what everybody sees. */
function isPredictable(nat: NatBehaviour): boolean {
  return nat.mapping === 'none' || nat.mapping === 'endpoint-independent' || nat.ports === 'preserved';
}

function isWayPredictable(way: readonly NatBehaviour[]): boolean {
  return way.every(isPredictable);
}

/**
 * Whether what `from` sends to the reflexive endpoint of `to` comes in there. `to` has sent to the reflexive endpoint
 * of `from`. With a filter that depends on the address this permits every port of that address; one that depends on
 * the port, too, permits `from` only if its source is the endpoint that `to` knows.
 *
 * A filter further out than a NAT sees that NAT's outside endpoint as the inside endpoint. If that NAT takes another
 * one for each remote, the one that owns the reflexive mapping has only ever sent to the third host.
 */
function reaches(from: readonly NatBehaviour[], to: readonly NatBehaviour[]): boolean {
  return to.every((nat, level) => {
    if (nat.filtering === 'endpoint-independent') return true;
    if (!isWayPredictable(to.slice(0, level))) return false;
    return nat.filtering !== 'address-and-port-dependent' || isWayPredictable(from);
  });
}

/**
 * Whether the answer of `from` comes back to `to`, which has sent to the reflexive endpoint of `from` and is answered
 * at exactly the endpoint it sent from. The answer's source is another one if `from` is not predictable.
 */
function returns(from: readonly NatBehaviour[], to: readonly NatBehaviour[]): boolean {
  return to.every(nat => nat.filtering !== 'address-and-port-dependent' || isWayPredictable(from));
}
