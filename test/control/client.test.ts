/** The control client against a coordinator: joining, the map stream, updates, and coming back. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NODE_KEY, Story } from './client-support.ts';
import { node } from './map-support.ts';

const test = suite('control client');

test('a device joins with an auth key: key, connection, registration, map, and a lite update', () => {
  const story = new Story({ authKey: 'mote-auth-1' }).run();
  assert.equal(story.took(), ['fetch-key', 'connect', 'state connecting', 'netmap', 'state running']);
  assert.equal(
    story.asked.map(({ kind, request }) => `${kind} ${request.method} ${request.authority}`),
    ['register POST control.test:8080', 'map POST control.test:8080', 'update POST control.test:8080'],
  );
  const { json } = story.last('register');
  assert.is(json['NodeKey'], NODE_KEY);
  assert.is(json['OldNodeKey'], `nodekey:${'0'.repeat(64)}`);
  assert.equal(json['Auth'], { AuthKey: 'mote-auth-1' });
  assert.is(json['Version'], 113);
  story.send({ PeersChanged: [node(7)] });
  assert.equal(story.took(), ['netmap']);
  assert.is(story.client.netmap.peers.count, 1);
});

test.run();
