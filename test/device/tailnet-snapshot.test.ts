/** What a member leaves for its next run: written, read, and refused. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Encode } from '../../lib/base/bytes.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { readTailnetSnapshot, type TailnetSnapshot, writeTailnetSnapshot } from '../../lib/device/tailnet-snapshot.ts';
import { fuzzRounds } from '../tools/scale.ts';

const test = suite('tailnet snapshot');
const KEY = new Uint8Array(32).fill(7);
const CONTROL = 'https://control.example.com';

const SNAPSHOT: TailnetSnapshot = {
  control: CONTROL,
  nodeKey: KEY,
  heardUnixMs: 1_700_000_000_000,
  homeRegion: 901,
  port: 41_641,
  discoKey: SecretKey.fromBytes(new Uint8Array(32).fill(9)),
  paths: new Map([
    [12, { address: '192.0.2.1', port: 41_641 }],
    [9_007_199_254_740_991, { address: '2001:db8::1', port: 1 }],
  ]),
  map: Uint8Array.of(1, 10, 2, 10),
};

test('a snapshot is read as it was written', () => {
  const read = readTailnetSnapshot(writeTailnetSnapshot(SNAPSHOT), CONTROL, KEY)!;
  assert.equal({ ...read, discoKey: read.discoKey.bytes }, { ...SNAPSHOT, discoKey: SNAPSHOT.discoKey.bytes });
});

test('the snapshot of another node key, or of another coordinator, is none', () => {
  const bytes = writeTailnetSnapshot(SNAPSHOT);
  assert.is(readTailnetSnapshot(bytes, CONTROL, new Uint8Array(32).fill(8)), undefined);
  assert.is(readTailnetSnapshot(bytes, 'http://control.example.com', KEY), undefined);
});

test('whatever is in the store, reading it does not throw', () => {
  const bytes = writeTailnetSnapshot(SNAPSHOT);
  for (let round = 0; round < fuzzRounds(500); round++) {
    const spoiled = bytes.slice(0, bytes.length - (round % 7));
    spoiled[(round * 31) % spoiled.length] = (round * 131) & 255;
    readTailnetSnapshot(spoiled, CONTROL, KEY);
  }
  for (const text of ['', '\n', '{}\n', '[]\n', 'null\n', '{"v":1}\n'])
    assert.is(readTailnetSnapshot(utf8Encode(text), CONTROL, KEY), undefined);
});

test.run();
