/**
 * The map of a coordinator that is not ours, over the map of ours: relay regions all over the world, none of which
 * answers, and DNS settings with a zone for each reverse network of the tailnet. Names and addresses are made up, of the
 * length that such maps have. Test-only.
 */
import { concatBytes, readU32LE, utf8Decode, utf8Encode, writeU32LE } from '../../lib/base/bytes.ts';
import type { WireDerpNode, WireDerpRegion } from '../../lib/derp/map.ts';

const CITIES: readonly string[] = [
  'New York City', 'San Francisco', 'Singapore', 'Frankfurt', 'Sydney', 'Bengaluru', 'Tokyo', 'London', 'Dallas', 'Seattle',
  'Sao Paulo', 'Chicago', 'Denver', 'Amsterdam', 'Johannesburg', 'Miami', 'Los Angeles', 'Paris', 'Madrid', 'Hong Kong',
  'Toronto', 'Warsaw', 'Dubai', 'Honolulu', 'Nairobi', 'Nuremberg', 'Ashburn', 'Helsinki',
]; // biome-ignore format: a table

/** Regions 1 to `count`, with 3 to 5 relays each, at addresses where nobody is. */
export function foreignRegions(count = CITIES.length): Readonly<Record<string, WireDerpRegion>> {
  const regions: Record<string, WireDerpRegion> = {};
  for (let id = 1; id <= count; id++) {
    const city = CITIES[(id - 1) % CITIES.length]!;
    const Nodes = Array.from({ length: 3 + (id % 3) }, (_, i): WireDerpNode => {
      const letter = 'bcdefg'[i]!;
      return {
        Name: `${id}${letter}`,
        RegionID: id,
        HostName: `derp${id}${letter}.example.net`,
        IPv4: `${i % 2 === 0 ? '198.51.100' : '203.0.113'}.${100 + id}`,
        IPv6: `2001:db8:${(0x1900 + id).toString(16)}:${(0x40 + i).toString(16)}:f03c:93ff:fe${10 + id}:a1c${i}`,
        CanPort80: true,
      };
    });
    const code = city.toLowerCase().replace(/[^a-z]/g, '').slice(0, 3); // biome-ignore format: one thing
    regions[id] = { RegionID: id, RegionCode: code, RegionName: city, Nodes };
  }
  return regions;
}

/** Routes without resolvers, as for the zones that the tailnet's own resolver answers; one zone has another's. */
function foreignDns(own: { readonly Domains?: readonly string[]; readonly Routes?: object }): object {
  const Routes: Record<string, unknown> = { ...own.Routes, 'corp.example.net': [{ Addr: '198.51.100.53' }] };
  for (let i = 64; i < 128; i++) Routes[`${i}.100.in-addr.arpa.`] = i % 2 === 0 ? null : [];
  Routes['0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa.'] = null;
  Routes['example.net.'] = [{ Addr: '199.247.155.53' }, { Addr: '2001:db8:53::53' }];
  return {
    ...own,
    Routes,
    Resolvers: [{ Addr: '198.51.100.1' }, { Addr: '203.0.113.1' }, { Addr: 'https://dns.example.net/query' }],
    FallbackResolvers: [{ Addr: '198.51.100.1' }],
    Domains: [...(own.Domains ?? []), 'corp.example.net'],
    CertDomains: ['chip.example.net'],
    Proxied: true,
  };
}

/** Rewrites one map stream, message by message. */
export class ForeignMap {
  #held: Uint8Array = new Uint8Array(0);

  /** The next bytes of our coordinator's stream; those that are to be sent. */
  handle(bytes: Uint8Array): Uint8Array {
    this.#held = concatBytes(this.#held, bytes);
    const out: Uint8Array[] = [];
    while (this.#held.length >= 4) {
      const end = 4 + readU32LE(this.#held, 0);
      if (this.#held.length < end) break;
      out.push(rewritten(this.#held.subarray(4, end)));
      this.#held = this.#held.subarray(end);
    }
    return concatBytes(...out);
  }
}

function rewritten(json: Uint8Array): Uint8Array {
  const message = JSON.parse(utf8Decode(json)) as { DNSConfig?: object };
  if (message.DNSConfig !== undefined) message.DNSConfig = foreignDns(message.DNSConfig);
  const text = utf8Encode(JSON.stringify(message));
  const out = new Uint8Array(4 + text.length);
  writeU32LE(out, 0, text.length);
  out.set(text, 4);
  return out;
}

/** A poll as a coordinator understands it that does not know the words of ours for small devices. */
export function foreignPoll(body: Uint8Array): Uint8Array {
  const { DebugFlags: _, ...poll } = JSON.parse(utf8Decode(body)) as { DebugFlags?: unknown };
  return utf8Encode(JSON.stringify(poll));
}
