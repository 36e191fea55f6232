import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';

const test = suite('base/errors');

test('a NetError is an Error with a name, a stable code and one line of text', () => {
  const error = new NetError('ERR_TIMED_OUT', 'no answer');
  assert.instance(error, Error);
  assert.is(error.name, 'NetError');
  assert.is(error.code, 'ERR_TIMED_OUT');
  assert.is(error.message, 'no answer');
  assert.is(error.cause, undefined);
});

test('a cause is kept', () => {
  const cause = new Error('below');
  assert.is(new NetError('ERR_STORE', 'above', { cause }).cause, cause);
});

test('a NetError can be made where the errors of the language are frozen, as in the flash of a board', () => {
  const before = Object.getOwnPropertyDescriptor(Error.prototype, 'name')!;
  Object.defineProperty(Error.prototype, 'name', { writable: false });
  try {
    const error = new NetError('ERR_CLOSED', 'closed');
    assert.equal([error.name, error.code, String(error)], ['NetError', 'ERR_CLOSED', 'NetError: closed']);
  } finally {
    Object.defineProperty(Error.prototype, 'name', before);
  }
});

test.run();
