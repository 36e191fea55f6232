import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkPublicMethods, privateMethods, publicMethods } from '../../targets/public-methods.ts';

const test = suite('public methods');

const CLASS = `export class A {
  #field = 1;
  readonly #call = () => 2;
  #plain(a: number): number {
    return this.#plainer(a) + this.#field + (this.#call)();
  }
  #plainer<T>(a: T): T { return a; }
  static async #made(): Promise<A> { return new A(); }
  get #seen(): boolean { return #field in this; }
  has(other: A) { return other.#seen && A.#made() && this.#plain(1); }
}`;

test('private methods and accessors become ordinary ones, private fields stay', () => {
  assert.equal([...privateMethods(CLASS)].sort(), ['made', 'plain', 'plainer', 'seen']);
  const text = publicMethods(CLASS);
  for (const name of ['#field = 1', '#call = ', 'this.#field', '(this.#call)()', '#field in this'])
    assert.ok(text.includes(name), name);
  for (const name of ['_plain(a', 'this._plainer(a)', '_plainer<T>', 'static async _made', 'get _seen', 'other._seen'])
    assert.ok(text.includes(name), name);
  assert.is(privateMethods(text).size, 0);
});

test('a module without private methods stays as it is', () => {
  const text = 'class A { #a = 1; get b() { return this.#a; } }';
  assert.is(publicMethods(text), text);
});

test('a name that begins like a method is not one', () => {
  const text = publicMethods('class A { #a = 1; #ab() { return this.#a; } #abc = 2; }');
  assert.is(text, 'class A { #a = 1; _ab() { return this.#a; } #abc = 2; }');
});

test('a class and the one that it extends may not both have the method', () => {
  const base = 'export class Base {\n  #go() {}\n}\nexport class Other {\n  #stop() {}\n}';
  const clash = 'class Child extends Base {\n  #go() {}\n}';
  const fine = 'class Child extends Base {\n  #stop() {}\n}';
  checkPublicMethods(
    new Map([
      ['a', base],
      ['b', fine],
    ]),
  );
  assert.throws(
    () =>
      checkPublicMethods(
        new Map([
          ['a', base],
          ['b', clash],
        ]),
      ),
    /b: Child and Base both have a private method #go/,
  );
});

test.run();
