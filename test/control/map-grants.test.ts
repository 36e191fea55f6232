/** Rules of the packet filter about capabilities of applications, as the netmap keeps them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decoderWith, self } from './map-support.ts';

const test = suite('map-grants');

test('a rule about capabilities of applications keeps their names', () => {
  const capMap = { 'example.com/cap/y': [{ deep: [1] }], 'example.com/cap/z': null };
  const grants = [
    { Dsts: ['100.64.0.1/32'], Caps: ['x'], CapMap: capMap },
    { Dsts: [], CapMap: null },
  ];
  const decoder = decoderWith([
    { Node: self(), PacketFilters: { base: [{ SrcIPs: ['100.64.0.2'], CapGrant: grants }] } },
  ]);
  const kept = [
    { Dsts: ['100.64.0.1/32'], Caps: ['x', 'example.com/cap/y', 'example.com/cap/z'] },
    { Dsts: [], Caps: [] },
  ];
  assert.equal(decoder.netmap.filterRules, [{ SrcIPs: ['100.64.0.2'], DstPorts: [], CapGrant: kept }]);
  assert.is(decoder.netmap.malformed, 0);
});

test.run();
