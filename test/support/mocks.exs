# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Stand in for the libraries of these names, as far as guides/testing.md uses them, in a VM of its own.

defmodule Mox do
  @moduledoc "A mock calls what the test process expects of it."

  def defmock(name, for: behaviour) do
    functions =
      for {function, arity} <- behaviour.behaviour_info(:callbacks) do
        args = Macro.generate_arguments(arity, name)

        quote do
          def unquote(function)(unquote_splicing(args)),
            do: Mox.called(unquote(name), unquote(function), unquote(args))
        end
      end

    Module.create(name, functions, Macro.Env.location(__ENV__))
  end

  def expect(mock, function, fun) do
    Process.put({mock, function}, fun)
    mock
  end

  def called(mock, function, args), do: apply(Process.delete({mock, function}), args)

  def verify_on_exit!(_context), do: :ok
end

defmodule Mimic do
  @moduledoc "Functions of a module do what a test expects of them, until it ends."

  defmacro __using__(_opts), do: quote(do: import(Mimic))

  def copy(module), do: {:module, ^module} = Code.ensure_loaded(module)

  def expect(module, function, fun) do
    {:arity, arity} = Function.info(fun, :arity)
    args = Macro.generate_arguments(arity, module)
    :persistent_term.put({module, function}, fun)
    Code.put_compiler_option(:ignore_module_conflict, true)

    called =
      quote do
        def unquote(function)(unquote_splicing(args)),
          do: apply(:persistent_term.get({unquote(module), unquote(function)}), unquote(args))
      end

    Module.create(module, called, Macro.Env.location(__ENV__))

    ExUnit.Callbacks.on_exit(fn ->
      :code.purge(module)
      {:module, ^module} = :code.load_file(module)
    end)

    module
  end
end
