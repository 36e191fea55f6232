import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TokenBucket } from '../../lib/derp/token-bucket.ts';

const test = suite('token bucket');

test('so much at once, then so much per second, to the millisecond', () => {
  const bucket = new TokenBucket(100, 5);
  for (let i = 0; i < 5; i++) assert.ok(bucket.take(1000, 1));
  assert.not(bucket.take(1009, 1));
  assert.ok(bucket.take(1010, 1));
  assert.not(bucket.take(1019, 1));
  assert.not(bucket.take(1059, 5));
  assert.ok(bucket.take(1060, 5));
  assert.not(bucket.take(999_999, 6), 'never more than the burst');
});

test('a debt says when it is paid, and grows with what is owed', () => {
  const bucket = new TokenBucket(1000, 500);
  assert.is(bucket.owe(0, 500), 0);
  assert.is(bucket.owe(0, 100), 100);
  assert.is(bucket.owe(50, 100), 200);
  assert.not(bucket.take(199, 1));
  assert.ok(bucket.take(201, 1));
  assert.is(bucket.owe(10_000, 500), 10_000);
});

test.run();
