import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { WireDerpNode, WireDerpRegion } from '../../lib/derp/map.ts';
import { RegionTable } from '../../lib/derp/region-table.ts';

const test = suite('derp region table');

function node(region: number, more: Partial<WireDerpNode> = {}): WireDerpNode {
  return { Name: `${region}a`, RegionID: region, HostName: `derp${region}a.example.net`, ...more };
}

function region(id: number, more: Partial<WireDerpRegion> = {}): WireDerpRegion {
  return { RegionID: id, RegionCode: `r${id}`, RegionName: `Region ${id}`, Nodes: [node(id)], ...more };
}

const FULL: WireDerpRegion = {
  RegionID: 65_535,
  RegionCode: 'nyc',
  RegionName: 'São Paulo',
  Avoid: true,
  NoMeasureNoHome: true,
  Nodes: [
    {
      Name: '1b',
      RegionID: 65_535,
      HostName: 'derp1b.example.net',
      CertName: `sha256-raw:${'ab'.repeat(32)}`,
      IPv4: '198.51.100.1',
      IPv6: '2001:db8:19:40:f03c:93ff:fe12:a1c0',
      STUNPort: 65_535,
      STUNOnly: true,
      DERPPort: 8443,
    },
    { Name: '', RegionID: 65_535, HostName: '', IPv4: 'none', IPv6: 'none', STUNPort: -1 },
  ],
};

test('a region comes back with every field that is not empty', () => {
  const table = RegionTable.of(region(1), FULL, region(2, { Nodes: [] }));
  assert.equal(table.get(65_535), FULL);
  assert.equal(table.get(1), region(1));
  assert.equal(table.get(2), region(2, { Nodes: [] }));
  assert.is(table.get(3), undefined);
  assert.equal(table.ids(), [1, 65_535, 2]);
  assert.is(table.size, 3);
  assert.is(table.codeOf(65_535), 'nyc');
  assert.is(table.codeOf(3), undefined);
});

test('fields that are empty, false or 0 are as if they were absent', () => {
  const empty = { CertName: '', IPv4: '', IPv6: '', STUNPort: 0, STUNOnly: false, DERPPort: 0 };
  const table = RegionTable.of(region(1, { Avoid: false, NoMeasureNoHome: false, Nodes: [node(1, empty)] }));
  assert.equal(table.get(1), region(1));
});

test('addresses that are none, or are written otherwise than usual, stay as they are', () => {
  for (const [IPv4, IPv6] of [
    ['1.2.3', 'x'],
    ['192.0.2.01', '2001:DB8::1'],
    ['::1', '192.0.2.1'],
    ['none', '0:0:0:0:0:0:0:1'],
    ['é', ' '],
    ['x'.repeat(127), '::ffff:192.0.2.1'],
  ] as const) {
    const given = region(1, { Nodes: [node(1, { IPv4, IPv6 }), node(1, { IPv6 })] });
    assert.equal(RegionTable.of(given).get(1), given, `${IPv4} ${IPv6}`);
  }
});

test('a region with the id of another takes its place', () => {
  const table = RegionTable.of(region(1), region(2), region(3));
  assert.ok(table.put(region(2, { RegionName: 'other', Nodes: [] })));
  assert.equal(table.ids(), [1, 3, 2]);
  assert.is(table.get(2)!.RegionName, 'other');
  assert.equal(table.get(3), region(3));
});

test('what does not fit is not taken, and takes nothing with it but the region of that id', () => {
  const bad: Partial<WireDerpRegion>[] = [
    { RegionName: 'x'.repeat(256) },
    { RegionCode: 'é'.repeat(128) },
    { Nodes: [node(1, { HostName: 'x'.repeat(256) })] },
    { Nodes: [node(1, { CertName: 'x'.repeat(256) })] },
    { Nodes: [node(1, { IPv4: 'x'.repeat(128) })] },
    { Nodes: [node(1, { DERPPort: 65_536 })] },
    { Nodes: [node(1, { STUNPort: 1.5 })] },
    { Nodes: Array.from({ length: 256 }, () => node(1)) },
    { Nodes: Array.from({ length: 255 }, () => node(1, { HostName: 'x'.repeat(255) })) },
  ];
  for (const more of bad) {
    const table = RegionTable.of(region(1), region(2));
    assert.not(table.put(region(1, more)), Object.keys(more)[0]);
    assert.equal(table.ids(), [2]);
    assert.equal(table.get(2), region(2));
  }
  assert.not(new RegionTable().put(region(65_536)));
  const most = region(1, { RegionName: 'x'.repeat(255), Nodes: Array.from({ length: 255 }, () => node(1)) });
  assert.equal(RegionTable.of(most).get(1), most);
});

test('which regions can be measured, be home, or are to be avoided', () => {
  const stunOnly = [node(4, { STUNOnly: true })];
  const table = RegionTable.of(
    region(1),
    region(2, { Avoid: true }),
    region(3, { NoMeasureNoHome: true }),
    region(4, { Nodes: stunOnly }),
    region(5, { Nodes: [...stunOnly, node(5)] }),
    region(6, { Nodes: [] }),
  );
  const ids = [1, 2, 3, 4, 5, 6, 7];
  assert.equal(ids.filter(id => table.canBeHome(id)), [1, 2, 5]); // biome-ignore format: a line each
  assert.equal(ids.filter(id => table.isMeasured(id)), [1, 2, 4, 5, 6]); // biome-ignore format: a line each
  assert.equal(ids.filter(id => table.isAvoided(id)), [2]); // biome-ignore format: a line each
  assert.equal(ids.filter(id => table.has(id)), [1, 2, 3, 4, 5, 6]); // biome-ignore format: a line each
  assert.ok(table.hasHost('derp5a.example.net'));
  assert.not(table.hasHost('derp7a.example.net'));
});

test('28 regions of two relays take 6 KB at most, and after compact no byte more than they need', () => {
  const table = new RegionTable();
  for (let id = 1; id <= 28; id++) {
    const relay = (letter: string) =>
      node(id, {
        HostName: `derp${id}${letter}.example.net`,
        IPv4: `198.51.100.${id}`,
        IPv6: `2001:db8:${id}:40:f03c:93ff:fe12:a1c0`,
      });
    table.put(region(id, { RegionName: 'San Francisco', Nodes: [relay('b'), relay('c')] }));
  }
  const before = table.heldBytes;
  table.compact();
  assert.ok(table.heldBytes < before && table.heldBytes <= 6 * 1024, `${table.heldBytes} bytes`);
  assert.is(RegionTable.of(...table.ids().map(id => table.get(id)!)).heldBytes, table.heldBytes);
  assert.is(new RegionTable().heldBytes, 0);
});

test.run();
