/** The table of fields is what the decoder does: every field that is not ignored shows, every other changes nothing. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FIELDS, wantedField } from '../../lib/control/fields.ts';
import { decoderWith, eventsOf, feedMap, frames, keyText, node, self, snapshot } from './map-support.ts';

const test = suite('fields');
const rule = { SrcIPs: ['*'], DstPorts: [{ IP: '*', Ports: { First: 1, Last: 2 } }] };
const relay = { Name: 'r', RegionID: 1, HostName: 'h.test' };
const region = { RegionID: 1, RegionCode: 'c', RegionName: 'n', Nodes: [relay] };
const START = { Node: self(), Peers: [node(1)], PacketFilters: { old: [rule] } };

/** A value for every field that is not ignored, other than what {@link START} has made. */
const SAMPLES: { readonly [kind: string]: { readonly [field: string]: unknown } } = {
  MapResponse: {
    KeepAlive: true, Node: self({ User: 5 }), Peers: [node(2)], PeersChanged: [node(3)], PeersRemoved: [1],
    PeersChangedPatch: [{ NodeID: 1, DERPRegion: 3 }], OnlineChange: { '1': false },
    DERPMap: { Regions: { '1': region } }, DNSConfig: { Domains: ['x'] }, Domain: 'd', PacketFilter: [rule],
    PacketFilters: { x: [rule] }, UserProfiles: [{ ID: 5, LoginName: 'l' }], Health: ['h'], ControlTime: '2026-01-01T00:00:00Z',
    PingRequest: { URL: 'http://c' }, PopBrowserURL: 'https://c',
  },
  Node: {
    ID: 2, Name: 'x.test.', User: 7, Key: keyText(9), KeyExpiry: '2030-01-01T00:00:00Z', DiscoKey: keyText(9, 'discokey'),
    Addresses: ['100.64.9.9/32'], AllowedIPs: ['10.0.0.0/8'], Endpoints: ['1.2.3.4:5'], HomeDERP: 3, Tags: ['tag:x'],
    Online: false, Expired: true, IsWireGuardOnly: true, IsJailed: true, UnsignedPeerAPIOnly: true,
  },
  Self: {
    ID: 3, StableID: 's', Name: 'x.test.', User: 7, Key: keyText(9), KeyExpiry: '2030-01-01T00:00:00Z', Addresses: ['100.64.9.9/32'],
    Tags: ['tag:x'], MachineAuthorized: false, Expired: true, CapMap: { x: [1] }, Capabilities: ['y'],
  },
  PeerChange: {
    NodeID: 1, DERPRegion: 3, Endpoints: ['1.2.3.4:5'], Key: keyText(9), DiscoKey: keyText(9, 'discokey'), Online: false,
    KeyExpiry: '2030-01-01T00:00:00Z',
  },
  DERPMap: { Regions: { '1': { ...region, Nodes: [] } } },
  DERPRegion: { RegionID: 2, RegionCode: 'x', RegionName: 'x', Avoid: true, NoMeasureNoHome: true, Nodes: [] },
  DERPNode: { Name: 'x', RegionID: 2, HostName: 'x.test', CertName: 'x', IPv4: '1.2.3.4', IPv6: '::1', STUNPort: -1, STUNOnly: true, DERPPort: 5 },
  DNSConfig: {
    Routes: { x: [] }, Domains: ['x'], ExtraRecords: [{ Name: 'x', Value: '1.2.3.4' }],
  },
  DNSRecord: { Name: 'x', Type: 'A', Value: '1.2.3.4' },
  Rule: { SrcIPs: ['1.2.3.4'], DstPorts: [], IPProto: [6], SrcBits: [32], CapGrant: [{ Dsts: ['*'], Caps: ['x'] }] },
  CapGrant: { Dsts: ['1.2.3.4'], Caps: ['y'], CapMap: { z: [1] } },
  DstPorts: { IP: '1.2.3.4', Ports: { First: 5, Last: 6 }, Bits: 32 },
  PortRange: { First: 2, Last: 9 },
  UserProfile: { ID: 6, LoginName: 'x', DisplayName: 'x' },
  PingRequest: { URL: 'http://x', URLIsNoise: true, Types: 'TSMP', IP: '1.2.3.4', Payload: 'AA==' },
}; // biome-ignore format: a table

/** A message that holds an object of a kind, with these fields over its usual ones. */
const HOLDERS: { readonly [kind: string]: (more: object) => object } = {
  MapResponse: more => more,
  Node: more => ({ Peers: [node(1, more)] }),
  Self: more => ({ Node: self(more) }),
  PeerChange: more => ({ PeersChangedPatch: [{ NodeID: 1, ...more }] }),
  DERPMap: more => ({ DERPMap: { Regions: { '1': region }, ...more } }),
  DERPRegion: more => ({ DERPMap: { Regions: { '1': { ...region, ...more } } } }),
  DERPNode: more => ({ DERPMap: { Regions: { '1': { ...region, Nodes: [{ ...relay, ...more }] } } } }),
  DNSConfig: more => ({ DNSConfig: more }),
  DNSRecord: more => ({ DNSConfig: { ExtraRecords: [{ Name: 'n', Value: 'v', ...more }] } }),
  Rule: more => ({ PacketFilters: { base: [{ ...rule, ...more }] } }),
  CapGrant: more => ({ PacketFilters: { base: [{ ...rule, CapGrant: [{ Dsts: ['*'], Caps: ['x'], ...more }] }] } }),
  DstPorts: more => ({ PacketFilters: { base: [{ ...rule, DstPorts: [{ ...rule.DstPorts[0], ...more }] }] } }),
  PortRange: more => ({
    PacketFilters: { base: [{ ...rule, DstPorts: [{ IP: '*', Ports: { First: 1, Last: 2, ...more } }] }] },
  }),
  UserProfile: more => ({ UserProfiles: [{ ID: 5, LoginName: 'l', DisplayName: 'd', ...more }] }),
  PingRequest: more => ({ PingRequest: { URL: 'http://c', ...more } }),
};

/** Everything that shows after a message. */
function effect(message: object): string {
  const decoder = decoderWith([START]);
  eventsOf(decoder);
  const result = feedMap(decoder, frames(message));
  const { controlTimeMs } = decoder.netmap;
  const seen = eventsOf(decoder).filter(({ type }) => type !== 'netmap');
  return JSON.stringify([result, snapshot(decoder), controlTimeMs, seen]);
}

for (const [kind, holder] of Object.entries(HOLDERS)) {
  test(`${kind}: what is obeyed or narrowed shows, what is ignored or not listed does not`, () => {
    const rules = FIELDS[kind]!;
    const wanted = Object.keys(rules).filter(field => rules[field]!.verdict !== 'ignored');
    const samples = SAMPLES[kind]!;
    const untested = wanted.filter(field => !(field in samples) && field !== 'DERP');
    assert.equal(untested, []);
    const usual = effect(holder({}));
    for (const [field, value] of Object.entries(samples)) {
      assert.ok(wanted.includes(field), `${field} is listed`);
      const isSame = kind === 'PeerChange' && field === 'NodeID';
      assert.is(effect(holder({ [field]: value })) === usual, isSame, field);
    }
    const ignored = Object.keys(rules).filter(field => rules[field]!.verdict === 'ignored');
    for (const field of [...ignored, 'NotListed', 'id', 'key', 'constructor', 'toString', '*'])
      for (const value of [true, 7, 'x', { a: [1] }, [{ ID: 1 }]])
        assert.is(effect(holder({ [field]: value })), usual, `${field} ${JSON.stringify(value)}`);
  });
}

test('every kind that a field points at is there, and everything narrowed or ignored says how or why', () => {
  for (const [kind, rules] of Object.entries(FIELDS)) {
    for (const [field, { verdict, how, of }] of Object.entries(rules)) {
      assert.ok(of === undefined || of in FIELDS, `${kind}.${field}`);
      assert.is(how === '', verdict === 'obeyed', `${kind}.${field}`);
    }
  }
  assert.is(wantedField('Nope', 'x'), undefined);
});

test('the old relay text counts only where the number is absent', () => {
  const plain = effect({ Peers: [node(1, { HomeDERP: 0 })] });
  assert.is.not(effect({ Peers: [node(1, { HomeDERP: 0, DERP: '127.3.3.40:5' })] }), plain);
  assert.is(
    effect({ Peers: [node(1, { HomeDERP: 5, DERP: '127.3.3.40:6' })] }),
    effect({ Peers: [node(1, { HomeDERP: 5 })] }),
  );
});

test.run();
