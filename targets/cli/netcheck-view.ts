/** What `motenet netcheck` shows to people. */
import type { HomeReason } from '../../lib/netcheck/limits.ts';
import type { NetcheckStatus } from '../../lib/netcheck/summary.ts';
import { millisecondsText } from './duration.ts';
import { formatTable, plainText } from './table.ts';

const WHY: Readonly<Record<HomeReason | 'connected', string>> = /* @__PURE__ */ Object.freeze({
  nearest: 'the nearest',
  'near-enough': 'kept: no other is nearer by 10 ms and a third',
  heard: 'kept: it did not answer over UDP, but its connection works',
  unmeasured: 'no relay answered over UDP, but its connection works',
  arbitrary: 'no relay answered over UDP, so that any is as good',
  none: 'no relay can be home',
  connected: 'the one that is connected',
});

/** Lines about a check. */
export function netcheckLines(status: NetcheckStatus): string[] {
  const { udp, ipv4, ipv6, globalV4, globalV6, home, relays } = status;
  const facts = [
    ['UDP', udp ? 'works' : 'blocked, or no relay answers: everything goes through relays'],
    ['IPv4', familyText(ipv4, globalV4)],
    ['IPv6', familyText(ipv6, globalV6)],
    ['NAT', natText(status)],
    ['home relay', home === undefined ? WHY.none : `${relayText(home)}, ${WHY[home.why]}`],
  ];
  const [, ...lines] = formatTable(['', ''], facts);
  if (relays.length === 0) return lines;
  const rows = relays.map(relay => [
    relay.code || String(relay.region),
    relay.name,
    millisecondsText(relay.latencyMs),
    timeText(relay.latencyV4Ms),
    timeText(relay.latencyV6Ms),
    relay.isHome ? 'home' : '',
  ]);
  return [...lines, '', ...formatTable(['RELAY', 'NAME', 'ROUND TRIP', 'IPV4', 'IPV6', ''], rows)];
}

function familyText(works: boolean, seen: string | undefined): string {
  if (!works) return 'no answer';
  return seen === undefined ? 'works' : `works, seen as ${seen}`;
}

function natText({ udp, mappingVariesByDestIp }: NetcheckStatus): string {
  if (!udp) return 'unknown';
  if (mappingVariesByDestIp === undefined) return 'unknown: that takes answers from two relays over IPv4';
  return mappingVariesByDestIp
    ? 'another address for each destination: direct paths only to members with an easier NAT'
    : 'one address for all destinations: good for direct paths';
}

function relayText({ code, name, region }: { code: string; name: string; region: number }): string {
  const short = plainText(code) || String(region);
  return name === '' || name === code ? short : `${short} (${plainText(name)})`;
}

function timeText(ms: number | undefined): string {
  return ms === undefined ? '' : millisecondsText(ms);
}
