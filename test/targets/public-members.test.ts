import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { moddableSources } from '../../targets/build-moddable.ts';
import { checkPublicMembers, privateMembers, publicMembers } from '../../targets/public-members.ts';
import { ROOT } from '../tools/files.ts';

const test = suite('public members');

const CLASS = `/** Not #plain here. */
export class A {
  // nor #field = 2 there
  #field = 1;
  #bare: number | undefined;
  readonly #call = () => 2;
  static readonly #shared: string = '#field';
  #plain(a: number): number {
    return this.#plainer(a) + this.#field + (this.#call)() + \`\${this.#bare} #bare\`;
  }
  #plainer<T>(a: T): T { return a; }
  static async #made(): Promise<A> { return new A(); }
  *#each() { yield this?.#field; }
  get #seen(): boolean { return #field in this; }
  has(other: A) { return other.#seen && A.#made() && this.#plain(1); }
}`;
const TURNED = `/** Not #plain here. */
export class A {
  // nor #field = 2 there
  _field = 1;
  _bare: number | undefined;
  readonly _call = () => 2;
  static readonly _shared: string = '#field';
  _plain(a: number): number {
    return this._plainer(a) + this._field + (this._call)() + \`\${this._bare} #bare\`;
  }
  _plainer<T>(a: T): T { return a; }
  static async _made(): Promise<A> { return new A(); }
  *_each() { yield this?._field; }
  get _seen(): boolean { return '_field' in this; }
  has(other: A) { return other._seen && A._made() && this._plain(1); }
}`;

const modules = (...texts: string[]) => new Map(texts.map((text, i) => ['abc'[i]!, text]));

test('private members become ordinary ones; texts and comments stay', () => {
  const names = ['bare', 'call', 'each', 'field', 'made', 'plain', 'plainer', 'seen', 'shared'];
  assert.equal([...privateMembers(CLASS)].sort(), names);
  assert.is(publicMembers(CLASS), TURNED);
});

test('a class in one line is turned too', () => {
  const text = publicMembers('class A { #a = 1; #ab() { return this.#a; } static #abc; } class B { get #a() {} }');
  assert.is(text, 'class A { _a = 1; _ab() { return this._a; } static _abc; } class B { get _a() {} }');
});

test('a module that says so keeps its private members', () => {
  const text = 'class A {\n  // PRIVATE: nobody may list it.\n  #a = 1;\n}';
  assert.is(publicMembers(text), text);
  assert.is(privateMembers(text).size, 0);
});

test('a class and those that it extends may not both have a member', () => {
  const base = 'export class Base {\n  #go() {}\n}\nexport class Other {\n  #stop = 1;\n}';
  checkPublicMembers(modules(base, 'class Child extends Base {\n  #stop = 2;\n}'));
  assert.throws(
    () => checkPublicMembers(modules(base, 'class Child extends Base {\n  #go = 1;\n}')),
    /b: Child and Base both have a private member #go/,
  );
  assert.throws(
    () => checkPublicMembers(modules(base, 'class A extends Base {}', 'class B<T> extends A {\n  get #go() {}\n}')),
    /c: B and Base both have a private member #go/,
  );
});

test('an ordinary member may not have the name that a private one gets', () => {
  const home = 'class A {\n  #go = 1;\n}';
  checkPublicMembers(modules(home, 'const _go = 1;\nclass B {\n  _stop = _go;\n}'));
  for (const taken of ['class B {\n  _go = 1;\n}', 'class B {\n  _go() {}\n}', 'const a = b._go;'])
    assert.throws(() => checkPublicMembers(modules(home, taken)), /b: there is a _go beside a private member #go/);
});

test('nothing of what a board runs is refused, and of private members secret keys alone are left in it', async () => {
  const sources = await moddableSources(ROOT);
  const texts = new Map(sources.map(path => [path, readFileSync(join(ROOT, path), 'utf8')]));
  checkPublicMembers(texts);
  const kept = [...texts].filter(([, text]) => publicMembers(text) === text && /^\s*#\w/m.test(text));
  assert.equal(
    kept.map(([path]) => path),
    ['lib/crypto/keys.ts'],
  );
  texts.delete('lib/crypto/keys.ts');
  for (const [path, text] of texts)
    for (const line of publicMembers(text).split('\n'))
      assert.not.match(line.replace(/(^\s*\/?\*|\/\/ ).*/, ''), /[.{;\s]#[a-z]/, `${path}: ${line}`);
});

test.run();
