/**
 * What this library does with every field that a coordinator may send, in a MapResponse above all: obeyed, narrowed (and
 * how), or ignored. A field that is not listed is ignored. The readers use this very table: a field that is ignored is
 * skipped as it streams, and nothing beyond the others is ever stored.
 */

/** What becomes of a field. */
export interface FieldRule {
  readonly verdict: 'obeyed' | 'narrowed' | 'ignored';
  /** How it is narrowed, or why it is ignored; empty for a field that is obeyed as the protocol says. */
  readonly how: string;
  /** The kind of object in {@link FIELDS} that the value is, or that its elements are. */
  readonly of?: string;
  /** Of `*`: names that are ignored. */
  readonly except?: (name: string) => boolean;
}

/** The fields of one kind of object; `*` stands for any name. */
export interface FieldRules {
  readonly [field: string]: FieldRule;
}

/**
 * The reverse zones of the addresses that every tailnet has, which lib/dns answers without being told: a coordinator may
 * send all 65 of them.
 */
const isOwnZone = (name: string) =>
  /^(?:(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.100\.in-addr|0\.e\.1\.a\.c\.5\.1\.1\.a\.7\.d\.f\.ip6)\.arpa\.?$/i.test(
    name,
  );

const OBEYED: FieldRule = Object.freeze({ verdict: 'obeyed', how: '' });

const MAP_RESPONSE: FieldRules = Object.freeze({
  KeepAlive: OBEYED,
  Node: { verdict: 'obeyed', how: '', of: 'Self' },
  Peers: {
    verdict: 'narrowed',
    how: 'so many that fit are kept, those known before first; a malformed one is dropped alone',
    of: 'Node',
  },
  PeersChanged: { verdict: 'narrowed', how: 'as Peers; a malformed one removes the peer it was for', of: 'Node' },
  PeersRemoved: OBEYED,
  PeersChangedPatch: { verdict: 'narrowed', how: 'a malformed one is dropped alone', of: 'PeerChange' },
  PeerSeenChange: { verdict: 'ignored', how: 'when a peer was there last' },
  OnlineChange: OBEYED,
  DERPMap: { verdict: 'narrowed', how: 'so many regions and relays in a region are kept', of: 'DERPMap' },
  DNSConfig: { verdict: 'narrowed', how: 'bounded in bytes; above that the message is refused', of: 'DNSConfig' },
  Domain: OBEYED,
  PacketFilter: {
    verdict: 'narrowed',
    how: 'so many rules and bytes are kept: what is left out is denied',
    of: 'Rule',
  },
  PacketFilters: { verdict: 'narrowed', how: 'as PacketFilter', of: 'Rule' },
  UserProfiles: { verdict: 'narrowed', how: 'so many are kept', of: 'UserProfile' },
  Health: { verdict: 'narrowed', how: 'so many texts are shown' },
  ControlTime: OBEYED,
  PingRequest: { verdict: 'narrowed', how: 'handed on; what is answered is decided there', of: 'PingRequest' },
  PopBrowserURL: { verdict: 'narrowed', how: 'shown, never opened; http and https only' },
  MapSessionHandle: { verdict: 'ignored', how: 'sessions are not resumed' },
  Seq: { verdict: 'ignored', how: 'sessions are not resumed' },
  CollectServices: { verdict: 'ignored', how: 'no list of services is ever sent' },
  DisplayMessages: { verdict: 'ignored', how: 'the version announced gets Health instead' },
  SSHPolicy: { verdict: 'ignored', how: 'there is no SSH server' },
  TKAInfo: { verdict: 'ignored', how: 'no tailnet lock yet' },
  DomainDataPlaneAuditLogID: { verdict: 'ignored', how: 'flows are logged nowhere' },
  Debug: { verdict: 'ignored', how: 'nobody may make a device sleep or exit from afar; there is no log upload' },
  ControlDialPlan: { verdict: 'ignored', how: 'the address that the user gave is the one that is dialled' },
  ClientVersion: { verdict: 'ignored', how: 'about another program' },
  DefaultAutoUpdate: { verdict: 'ignored', how: 'nobody may install software from afar' },
});

const NODE: FieldRules = Object.freeze({
  ID: OBEYED,
  Name: { verdict: 'narrowed', how: 'left empty unless it is a DNS name' },
  User: { verdict: 'narrowed', how: 'not kept on the small preset' },
  Key: OBEYED,
  KeyExpiry: OBEYED,
  DiscoKey: { verdict: 'narrowed', how: 'of many peers a tag on the small preset' },
  Addresses: OBEYED,
  AllowedIPs: { verdict: 'narrowed', how: 'not kept on the small preset' },
  Endpoints: {
    verdict: 'narrowed',
    how: 'the first so many, none of many peers on the small preset; one with a zone or malformed is dropped alone',
  },
  DERP: { verdict: 'narrowed', how: 'only where HomeDERP is absent' },
  HomeDERP: OBEYED,
  Cap: { verdict: 'ignored', how: 'what a peer can do is seen when it does it' },
  Tags: { verdict: 'narrowed', how: 'the first so many' },
  LastSeen: { verdict: 'ignored', how: 'when a peer was there last' },
  Online: OBEYED,
  Expired: OBEYED,
  IsWireGuardOnly: OBEYED,
  IsJailed: OBEYED,
  UnsignedPeerAPIOnly: OBEYED,
  StableID: { verdict: 'ignored', how: 'ids are enough' },
  Sharer: { verdict: 'ignored', how: 'for display only' },
  KeySignature: { verdict: 'ignored', how: 'no tailnet lock yet' },
  Machine: { verdict: 'ignored', how: 'a peer is known by its node key' },
  Hostinfo: { verdict: 'ignored', how: 'what a peer says of itself' },
  Created: { verdict: 'ignored', how: 'for display only' },
  PrimaryRoutes: { verdict: 'ignored', how: 'AllowedIPs says where packets go' },
  MachineAuthorized: { verdict: 'ignored', how: 'the coordinator does not send others' },
  Capabilities: { verdict: 'ignored', how: 'a capability of a peer changes nothing here' },
  CapMap: { verdict: 'ignored', how: 'a capability of a peer changes nothing here' },
  SelfNodeV4MasqAddrForThisPeer: { verdict: 'ignored', how: 'addresses are not translated' },
  SelfNodeV6MasqAddrForThisPeer: { verdict: 'ignored', how: 'addresses are not translated' },
  ExitNodeDNSResolvers: { verdict: 'ignored', how: 'exit nodes are not used' },
  DataPlaneAuditLogID: { verdict: 'ignored', how: 'flows are logged nowhere' },
  ComputedName: { verdict: 'ignored', how: 'made on the device' },
  ComputedNameWithHost: { verdict: 'ignored', how: 'made on the device' },
});

const SELF: FieldRules = Object.freeze({
  ID: OBEYED,
  StableID: OBEYED,
  Name: OBEYED,
  User: OBEYED,
  Key: OBEYED,
  KeyExpiry: OBEYED,
  Addresses: OBEYED,
  Tags: OBEYED,
  MachineAuthorized: OBEYED,
  Expired: OBEYED,
  CapMap: { verdict: 'narrowed', how: 'the names, without their values', of: 'CapMap' },
  Capabilities: { verdict: 'narrowed', how: 'beside the names of CapMap' },
});

/** Every kind of object, by name. */
export const FIELDS: { readonly [kind: string]: FieldRules } = Object.freeze({
  MapResponse: MAP_RESPONSE,
  Node: NODE,
  Self: SELF,
  CapMap: Object.freeze({ '*': { verdict: 'narrowed', how: 'the name alone', of: 'Nothing' } }) as FieldRules,
  Nothing: Object.freeze({}),
  PeerChange: Object.freeze({
    NodeID: OBEYED,
    DERPRegion: OBEYED,
    Cap: NODE['Cap']!,
    Endpoints: NODE['Endpoints']!,
    Key: OBEYED,
    DiscoKey: NODE['DiscoKey']!,
    Online: OBEYED,
    LastSeen: NODE['LastSeen']!,
    KeyExpiry: OBEYED,
    KeySignature: NODE['KeySignature']!,
    CapMap: NODE['CapMap']!,
  }),
  DERPMap: Object.freeze({
    Regions: { verdict: 'narrowed', how: 'the first so many', of: 'DERPRegion' },
    HomeParams: { verdict: 'ignored', how: 'the nearest relay is home' },
    omitDefaultRegions: { verdict: 'ignored', how: 'there are no regions of our own' },
  }) as FieldRules,
  DERPRegion: Object.freeze({
    RegionID: OBEYED,
    RegionCode: OBEYED,
    RegionName: OBEYED,
    Avoid: OBEYED,
    NoMeasureNoHome: OBEYED,
    Nodes: { verdict: 'narrowed', how: 'the first so many; a malformed one is dropped alone', of: 'DERPNode' },
    Latitude: { verdict: 'ignored', how: 'for display only' },
    Longitude: { verdict: 'ignored', how: 'for display only' },
  }) as FieldRules,
  DERPNode: Object.freeze({
    Name: OBEYED,
    RegionID: OBEYED,
    HostName: OBEYED,
    CertName: OBEYED,
    IPv4: OBEYED,
    IPv6: OBEYED,
    STUNPort: OBEYED,
    STUNOnly: OBEYED,
    DERPPort: OBEYED,
    CanPort80: { verdict: 'ignored', how: 'relays are reached over TLS' },
    InsecureForTests: { verdict: 'ignored', how: 'a certificate is verified or pinned, never skipped' },
    STUNTestIP: { verdict: 'ignored', how: 'for tests of another program' },
  }) as FieldRules,
  DNSConfig: Object.freeze({
    Resolvers: { verdict: 'ignored', how: 'the system resolves other names' },
    Routes: { verdict: 'narrowed', how: 'those without resolvers', of: 'DNSRoutes' },
    Domains: OBEYED,
    Proxied: { verdict: 'ignored', how: 'names of the tailnet are always resolved here' },
    ExtraRecords: { verdict: 'obeyed', how: '', of: 'DNSRecord' },
    FallbackResolvers: { verdict: 'ignored', how: 'the system resolves other names' },
    Nameservers: { verdict: 'ignored', how: 'of old versions' },
    CertDomains: { verdict: 'ignored', how: 'no certificates are made' },
    ExitNodeFilteredSet: { verdict: 'ignored', how: 'exit nodes are not used' },
    TempCorpIssue13969: { verdict: 'ignored', how: 'of another program' },
  }) as FieldRules,
  DNSRoutes: Object.freeze({
    '*': { verdict: 'narrowed', how: 'whether there are resolvers', of: 'Resolver', except: isOwnZone },
  }) as FieldRules,
  Resolver: Object.freeze({}),
  DNSRecord: Object.freeze({ Name: OBEYED, Type: OBEYED, Value: OBEYED }),
  Rule: Object.freeze({
    SrcIPs: OBEYED,
    DstPorts: { verdict: 'obeyed', how: '', of: 'DstPorts' },
    IPProto: OBEYED,
    SrcBits: { verdict: 'narrowed', how: 'a rule that has them is left out' },
    CapGrant: { verdict: 'obeyed', how: '', of: 'CapGrant' },
  }) as FieldRules,
  CapGrant: Object.freeze({
    Dsts: OBEYED,
    Caps: OBEYED,
    CapMap: { verdict: 'narrowed', how: 'names without their values', of: 'CapMap' },
  }) as FieldRules,
  DstPorts: Object.freeze({
    IP: OBEYED,
    Ports: { verdict: 'obeyed', how: '', of: 'PortRange' },
    Bits: { verdict: 'narrowed', how: 'a rule that has them is left out' },
  }) as FieldRules,
  PortRange: Object.freeze({ First: OBEYED, Last: OBEYED }),
  UserProfile: Object.freeze({
    ID: OBEYED,
    LoginName: OBEYED,
    DisplayName: OBEYED,
    ProfilePicURL: { verdict: 'ignored', how: 'nothing is fetched from where a coordinator points' },
    Groups: { verdict: 'ignored', how: 'not used' },
  }) as FieldRules,
  PingRequest: Object.freeze({
    URL: OBEYED,
    URLIsNoise: OBEYED,
    Types: OBEYED,
    IP: OBEYED,
    Payload: OBEYED,
    Log: { verdict: 'ignored', how: 'not used' },
  }) as FieldRules,
  RegisterResponse: Object.freeze({
    Error: { verdict: 'narrowed', how: 'shown: cut, printable, without the auth key' },
    AuthURL: { verdict: 'narrowed', how: 'shown, never opened; http and https only' },
    NodeKeyExpired: { verdict: 'narrowed', how: 'answered with one new key per attempt' },
    User: { verdict: 'ignored', how: 'the map says it' },
    Login: { verdict: 'ignored', how: 'the map says it' },
    MachineAuthorized: { verdict: 'ignored', how: 'the map says it' },
    NodeKeySignature: { verdict: 'ignored', how: 'no tailnet lock yet' },
  }) as FieldRules,
  ServerKeys: Object.freeze({
    publicKey: OBEYED,
    legacyPublicKey: { verdict: 'ignored', how: 'of old versions' },
  }) as FieldRules,
});

/** The rule for a field of a kind of object; undefined for one that is ignored or not listed. */
export function wantedField(kind: string, field: string): FieldRule | undefined {
  const rules = FIELDS[kind];
  if (rules === undefined) return undefined;
  const rule = Object.hasOwn(rules, field) && field !== '*' ? rules[field] : rules['*'];
  const isIgnored = rule === undefined || rule.verdict === 'ignored' || rule.except?.(field) === true;
  return isIgnored ? undefined : rule;
}
