import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/lib/**', '**/tests-built/**', '**/src/wire.ts', '**/src/words.ts'] },
  ...tseslint.configs.strict,
  ...tseslint.configs.stylistic,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/explicit-function-return-type': ['error', { allowExpressions: true }],
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [{ from: 'package', name: 'test', package: 'node:test' }] }],
      '@typescript-eslint/no-misused-promises': 'error',
      // JupyterLab's custom: the private functions of a file are in `namespace Private` at its end.
      '@typescript-eslint/no-namespace': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unused-expressions': ['error', { allowTernary: true, allowShortCircuit: true }],
      'max-lines': ['error', 600],
      'max-lines-per-function': ['error', { max: 60, skipComments: true }],
      '@typescript-eslint/no-explicit-any': 'error',
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        { property: 'innerHTML', message: 'Outputs of untrusted notebooks are rendered too: build elements with dom.ts.' },
        { property: 'outerHTML', message: 'Outputs of untrusted notebooks are rendered too: build elements with dom.ts.' },
        { property: 'insertAdjacentHTML', message: 'Outputs of untrusted notebooks are rendered too: build elements with dom.ts.' }
      ],
      eqeqeq: 'error',
      curly: 'error'
    }
  },
  { files: ['**/*.mjs', '**/*.js'], extends: [tseslint.configs.disableTypeChecked] }
);
