/**
 * Where clients find the relay of this server (DERPMap of the control protocol): one region, one node.
 */
import type { WireDerpMap } from '../../lib/derp/map.ts';
import { parseAddress } from '../../lib/base/address.ts';

/** The first region that is free for own relays. */
export const OWN_REGION = 900;

/** What is published of the own relay. */
export interface OwnRelay {
  /** Name or address, as in the URL. */
  readonly host: string;
  /** Port that speaks TLS. */
  readonly port: number;
  /** SHA-256 of the certificate in hex, when it is self-signed; undefined: a certificate that clients trust. */
  readonly digest: string | undefined;
  /** UDP port; undefined: no STUN. */
  readonly stunPort: number | undefined;
}

/** The map with this relay alone. */
export function ownDerpMap({ host, port, digest, stunPort }: OwnRelay): WireDerpMap {
  const address = host === 'localhost' ? '127.0.0.1' : host;
  const bytes = parseAddress(address);
  const families = bytes && (bytes.length === 4 ? { IPv4: address, IPv6: 'none' } : { IPv4: 'none', IPv6: address });
  const node = {
    Name: `${OWN_REGION}a`,
    RegionID: OWN_REGION,
    HostName: host,
    ...(digest === undefined ? {} : { CertName: `sha256-raw:${digest}` }),
    ...families,
    STUNPort: stunPort ?? -1,
    DERPPort: port,
  };
  const region = { RegionID: OWN_REGION, RegionCode: 'own', RegionName: 'Own relay', Nodes: [node] };
  return { Regions: { [OWN_REGION]: region }, omitDefaultRegions: true };
}
