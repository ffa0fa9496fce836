// timeoutSeconds: 300
// Ordinary programs do their work in a mount, on real trees: tar, diff, git, npm, compilers, rsync,
// cp, mv, find, sed, vim, python; then everything is unmounted, mounted again and compared, by
// diff -r and by every attribute. FILES=3000 makes the tree smaller; PLACE=plain tries the test.

import t from 'tap'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Place, noMount } from './harness.helper.ts'
import { hasProgram, temporaryDirectory } from './system.helper.ts'
import { sh } from './shell.helper.ts'
import { differences, takeTree } from './tree.helper.ts'
import { checkout, makeOddities, makeRepository, makeSmallFiles } from './trees.helper.ts'

const filesWanted = Number(process.env['FILES'] ?? 21_000)
const without = (...programs: string[]): string | false => {
  const missing = programs.filter((program) => !hasProgram(program))
  return missing.length > 0 ? `no ${missing.join(', no ')}` : false
}

t.test('ordinary programs', { skip: noMount() ?? false }, async (t) => {
  const base = temporaryDirectory(t)
  const place = await Place.open(t, { base })
  const outside = join(base, 'outside')
  mkdirSync(outside)
  const inside = (name: string): string => {
    const directory = join(place.directory, name)
    mkdirSync(directory)
    return directory
  }

  await t.test('tar: a real tree is unpacked, equal in every attribute', async (t) => {
    const real = `${checkout}node_modules`
    const source = join(outside, 'tree')
    const count = (directory: string): number =>
      Number(execFileSync('sh', ['-c', 'find . | wc -l'], { cwd: directory, encoding: 'utf8' }))
    const whole = count(real)
    const realShare = filesWanted < whole ? 'typescript lmdb @types tap' : '.'
    mkdirSync(source)
    await sh(t, `tar -C ${real} -cf - ${realShare} | tar -xf -`, source)
    makeSmallFiles(join(source, 'small'), Math.max(1000, filesWanted - count(source)))
    await makeOddities(t, join(source, 'odd'))
    await sh(t, 'tar --format=posix -S -cf ../tree.tar .', source)
    const directory = inside('tree')
    await sh(t, 'tar -xpf ../../outside/tree.tar', directory)
    t.ok(count(directory) >= filesWanted, `${count(directory)} entries`)
    // A pax archive made without --xattrs has none: they are compared after mounting again.
    const again = 'tar --format=posix -S --xattrs -cf - odd | tar --xattrs -xf - -C "$TO"'
    await sh(t, again, source, { TO: directory })
    t.same(differences(takeTree(source), takeTree(directory)), [])
  })

  await t.test('git: clone, commit, collect, check', { skip: without('git') }, async (t) => {
    await makeRepository(t, join(outside, 'repository'), 300)
    const directory = inside('git')
    await sh(t, `
      git clone -q --no-local ../../outside/repository clone
      cd clone
      test "$(git rev-list --count HEAD)" = 300
      test -z "$(git status --porcelain)"
      for i in 1 2 3 4 5; do
        echo "line $i" >> src/part1/file1.txt; echo new > "new file $i"
        git add -A; git commit -q -m "change $i"
      done
      git checkout -q -b side HEAD~3; echo side > side.txt; git add .; git commit -q -m side
      git checkout -q main; git merge -q --no-edit side
      git mv src/part2 src/moved; git commit -q -m moved
      echo unfinished > unfinished; git stash -q -u; git stash pop -q; rm unfinished
      git rebase -q --force-rebase HEAD~2
      git gc -q --prune=now; git fsck --full --strict
      test -z "$(git status --porcelain)"
      cd ..; git clone -q clone second; cd second; git fsck --full; git worktree add -q ../tree
    `, directory)
    t.pass('git is content')
  })

  await t.test('npm: installs local packages, offline', { skip: without('npm') }, async (t) => {
    const packages = join(outside, 'packages')
    for (const [name, rest] of [['one', ''], ['two', `,"bin":{"two":"cli.js"}`]] as const) {
      const directory = join(packages, name)
      mkdirSync(directory, { recursive: true })
      const manifest = `{"name":"${name}","version":"1.0.0","main":"index.js"${rest}}`
      writeFileSync(join(directory, 'package.json'), manifest)
      writeFileSync(join(directory, 'index.js'), `module.exports = '${name}'\n`)
      writeFileSync(join(directory, 'cli.js'), `#!/usr/bin/env node\nconsole.log('two runs')\n`)
      makeSmallFiles(join(directory, 'files'), 300)
      await sh(t, `npm pack --silent --pack-destination ..`, directory, npmEnvironment(base))
    }
    const directory = inside('npm')
    const dependencies = `{"one":"file:../../outside/packages/one-1.0.0.tgz",` +
      `"two":"file:../../outside/packages/two-1.0.0.tgz"}`
    writeFileSync(
      join(directory, 'package.json'),
      `{"name":"app","version":"1.0.0","dependencies":${dependencies}}`,
    )
    const out = await sh(t, `
      npm install --offline --no-audit --no-fund
      node -p "require('one') + require('two')"
      node_modules/.bin/two
      npm ci --offline --no-audit --no-fund
      npm ls
    `, directory, npmEnvironment(base))
    t.match(out, /onetwo\ntwo runs/)
  })

  await t.test('compilers: objects, an archive, a program; a TypeScript project', async (t) => {
    const directory = inside('build')
    const sources = Array.from({ length: 20 }, (_, i) => `f${i}`)
    for (const name of sources) {
      writeFileSync(join(directory, `${name}.c`), `int ${name}(int x) { return x + 1; }\n`)
    }
    const calls = sources.reduce((inner, name) => `${name}(${inner})`, '0')
    const head = sources.map((name) => `int ${name}(int);`).join('\n')
    writeFileSync(join(directory, 'main.c'), `${head}\nint main(void) { return ${calls}; }\n`)
    mkdirSync(join(directory, 'ts'))
    for (let i = 0; i < 20; i++) {
      const text = i === 0 ? 'export const v0 = 0\n'
        : `import { v${i - 1} } from './m${i - 1}.js'\nexport const v${i} = v${i - 1} + 1\n`
      writeFileSync(join(directory, 'ts', `m${i}.ts`), text)
    }
    const options = `{"compilerOptions":{"module":"nodenext","target":"es2022","outDir":"out",` +
      `"incremental":true,"types":[],"sourceMap":true,"declaration":true}}`
    writeFileSync(join(directory, 'ts', 'tsconfig.json'), options)
    writeFileSync(join(directory, 'ts', 'package.json'), '{"type":"module"}')
    const out = await sh(t, `
      ls *.c | xargs -P 2 -n 6 cc -g -c
      ar rcs libparts.a f*.o
      cc -g -o program main.o libparts.a
      code=0; ./program || code=$?; echo "program says $code"
      cc -shared -fPIC -o libshared.so f*.c
      cd ts; node "$TSC" -p . ; node -p "(await import('./out/m19.js')).v19" --input-type=module ||
      node --input-type=module -e "console.log((await import(process.cwd() + '/out/m19.js')).v19)"
    `, directory, { TSC: `${checkout}node_modules/typescript/bin/tsc` })
    t.match(out, /program says 20[^]*\n19\n/)
  })

  await t.test('rsync: then there is nothing to do', { skip: without('rsync') }, async (t) => {
    const directory = inside('rsync')
    const out = await sh(t, `
      odd='--exclude=sparse*'
      rsync -aH $odd ../../outside/tree/odd ../../outside/tree/small .
      echo again; rsync -aHi $odd ../../outside/tree/odd ../../outside/tree/small .
      echo content; rsync -aHi --checksum ../../outside/tree/small .
      echo back; rsync -aH --delete ./small/ ../../outside/back/
      diff -r small ../../outside/back
      touch small/d1/*; rsync -aH --inplace --delete ../../outside/back/ small/
      diff -r small ../../outside/back
    `, directory)
    t.equal(out, 'again\ncontent\nback\n')
  })

  await t.test('cp, mv, find, sed, rm', async (t) => {
    const directory = inside('tools')
    const out = await sh(t, `
      cp -a ../tree/small copy; diff -r ../tree/small copy
      cp -a copy/. second; mv second third; mv third/d5 .; mv d5 third/d5; diff -r copy third
      find copy -type f | wc -l
      find . -name 'file 1*' -newer copy -print0 | xargs -0 -r ls -d > /dev/null
      for i in 1 2 3 4 5 6 7 8 9; do sed -i "s/line/LINE $i/" 'copy/d5/file 33'; done
      grep -c LINE 'copy/d5/file 33'
      chmod -R go-rwx copy; du -s copy > /dev/null; rm -rf copy; test ! -e copy
      split -b 1000 "$PROGRAM" part-; cat part-* | cmp - "$PROGRAM"
      sort -R "$LIST" > sorted; sort sorted > again; sort "$LIST" | cmp - again
      gzip -k again; gunzip -c again.gz | cmp - again
    `, directory, { PROGRAM: '/bin/tar', LIST: `${checkout}package-lock.json` })
    t.match(out, /^1001\n|^\d+\n\d+\n/)
  })

  await t.test('vim', { skip: without('vim') }, async (t) => {
    const directory = inside('vim')
    const vim = 'HOME=. vim -u NONE -i NONE -es'
    await sh(t, `
      seq 1 2000 > text; ln text second; chmod 640 text
      ${vim} -c '%s/^1/one /' -c wq text
      ${vim} --cmd 'set backup backupcopy=yes' -c 'normal ggdd' -c wq text
      rm second; ${vim} --cmd 'set backup backupcopy=no' -c 'normal Gdd' -c wq text
      test "$(wc -l < text)" = 1998; test "$(stat -c %a text)" = 640
      ${vim} --cmd 'set fsync undofile' -c '$put =range(100)' -c wq text
      test ! -e .text.swp
    `, directory)
    t.equal(readFileSync(join(directory, 'text'), 'utf8').split('\n').length, 2099)
  })

  await t.test('python: files replaced, archives', { skip: without('python3') }, async (t) => {
    const directory = inside('python')
    const out = await sh(t, 'python3 -c "$CODE"', directory, { CODE: PYTHON })
    t.equal(out, 'done\n')
  })

  await t.test('everything is there after mounting again', async (t) => {
    const before = takeTree(place.directory)
    await place.remount()
    t.same(differences(before, takeTree(place.directory)), [])
    await sh(t, `diff -r --no-dereference outside/tree/small vault/tree/small`, base)
    if (hasProgram('git')) {
      const clone = join(place.directory, 'git', 'clone')
      await sh(t, 'git fsck --full --strict; test -z "$(git status --porcelain)"', clone)
    }
    await sh(t, 'rm -rf tree git; test -z "$(ls | grep -E "^(tree|git)$")"', place.directory)
  })
})

const npmEnvironment = (base: string): Record<string, string> => ({
  npm_config_cache: join(base, 'npm-cache'),
  npm_config_userconfig: join(base, 'npmrc'),
  npm_config_update_notifier: 'false',
  npm_config_registry: 'http://127.0.0.1:9/',
})

const PYTHON = `
import json, mmap, os, shutil, tempfile, zipfile
def replace(path, text):
    fd, name = tempfile.mkstemp(dir='.')
    with os.fdopen(fd, 'w') as f:
        f.write(text); f.flush(); os.fsync(f.fileno())
    os.replace(name, path)
for i in range(200):
    replace('config.json', json.dumps({'n': i, 'pad': 'x' * i * 20}))
    assert json.load(open('config.json'))['n'] == i
with tempfile.TemporaryFile(dir='.') as f:
    f.write(b'x' * 100000); f.seek(0); assert len(f.read()) == 100000
with tempfile.TemporaryDirectory(dir='.') as d:
    for i in range(50): open(os.path.join(d, str(i)), 'w').write(str(i))
    shutil.copytree(d, 'tree')
with zipfile.ZipFile('tree.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    for i in range(50): z.write('tree/%d' % i)
assert zipfile.ZipFile('tree.zip').testzip() is None
with open('mapped', 'w+b') as f:
    f.truncate(1 << 20)
    with mmap.mmap(f.fileno(), 1 << 20) as m:
        m[1000:1005] = b'hello'; m.flush(); m[-5:] = b'world'
data = open('mapped', 'rb').read()
assert data[1000:1005] == b'hello' and data[-5:] == b'world' and len(data) == 1 << 20
shutil.rmtree('tree')
assert sorted(os.listdir('.')) == ['config.json', 'mapped', 'tree.zip'], os.listdir('.')
print('done')
`
