# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Build.Fetch do
  @moduledoc false
  # One file by HTTP, with what OTP has: certificates are verified, proxies are those that Hex takes.

  # Parts of OTP that are not everywhere: see start!/1.
  @compile {:no_warn_undefined, [:inets, :httpc, :public_key]}

  @connect_timeout_ms 15_000
  @timeout_ms 120_000

  @doc """
  Returns `{:ok, body}` or `{:error, reason}` with the reason in words. Waits for `:timeout_ms` (two minutes) at most.
  """
  def get(url, options \\ []) do
    for application <- [:inets, :ssl], do: start!(application)
    # A client of its own: the options of the default one belong to others.
    {:ok, client} = :inets.start(:httpc, [profile: :muontrap], :stand_alone)
    # Stopping it is no end of ours.
    Process.unlink(client)

    try do
      request(client, url, Keyword.get(options, :timeout_ms, @timeout_ms))
    after
      :inets.stop(:stand_alone, client)
    end
  end

  @doc "Starts an application of OTP. Raises `Mix.Error` where OTP is installed without it, as by Debian in parts."
  def start!(application) do
    # Mix takes away the paths of applications that a project does not name.
    if function_exported?(Mix, :ensure_application!, 1),
      do: apply(Mix, :ensure_application!, [application])

    case Application.ensure_all_started(application) do
      {:ok, _started} ->
        :ok

      {:error, _reason} ->
        Mix.raise(
          "an archive cannot be taken: this Erlang was installed without #{application}. Install it " <>
            "(erlang-#{application} on Debian), or set MUONTRAP_BUILD=1 to build muontrap here with Cargo."
        )
    end
  end

  defp request(client, url, timeout_ms) do
    uri = URI.parse(url)
    {proxy, authorization} = proxy(uri)
    :ok = :httpc.set_options(proxy, client)
    headers = [{~c"user-agent", ~c"muontrap"}]

    # Without these the client asks the system for certificates, also where it has none and needs none.
    options =
      [timeout: timeout_ms, connect_timeout: min(timeout_ms, @connect_timeout_ms)] ++
        authorization ++ [ssl: if(uri.scheme == "https", do: tls(), else: [])]

    case :httpc.request(
           :get,
           {to_charlist(url), headers},
           options,
           [body_format: :binary],
           client
         ) do
      {:ok, {{_version, 200, _text}, _headers, body}} ->
        {:ok, body}

      {:ok, {{_version, status, text}, _headers, _body}} ->
        {:error, "HTTP status #{status} #{text}"}

      {:error, reason} ->
        {:error, words(reason)}
    end
  end

  defp words(:timeout), do: "no answer in time"
  defp words(:socket_closed_remotely), do: "the server closed the connection"
  defp words({:failed_connect, details}), do: "no connection#{detail(List.last(details))}"
  defp words(reason), do: inspect(reason)

  defp detail({_family, _options, {:tls_alert, {_alert, text}}}), do: ": #{text}"
  defp detail({_family, _options, reason}), do: ": #{inspect(reason)}"
  defp detail(_other), do: ""

  defp tls do
    authorities =
      case System.get_env("HEX_CACERTS_PATH") do
        nil -> [cacerts: :public_key.cacerts_get()]
        path -> [cacertfile: to_charlist(path)]
      end

    match = :public_key.pkix_verify_hostname_match_fun(:https)
    authorities ++ [verify: :verify_peer, depth: 5, customize_hostname_check: [match_fun: match]]
  end

  # As Hex reads them. Returns options of the client and of the request.
  defp proxy(uri) do
    name = "#{uri.scheme}_proxy"
    address = System.get_env(name) || System.get_env(String.upcase(name))
    except = System.get_env("no_proxy") || System.get_env("NO_PROXY") || ""

    case address && URI.parse(address) do
      %URI{host: host, port: port, userinfo: userinfo} when is_binary(host) ->
        except =
          for name <- String.split(except, ",", trim: true), do: no_proxy(String.trim(name))

        key = if uri.scheme == "https", do: :https_proxy, else: :proxy
        {[{key, {{to_charlist(host), port || 80}, except}}], authorization(userinfo)}

      _none ->
        {[], []}
    end
  end

  defp no_proxy("." <> _ = domain), do: to_charlist("*" <> domain)
  defp no_proxy(name), do: to_charlist(name)

  defp authorization(nil), do: []

  defp authorization(userinfo) do
    [user | password] = String.split(userinfo, ":", parts: 2)
    decode = &(&1 |> URI.decode() |> to_charlist())
    [proxy_auth: {decode.(user), decode.(List.first(password) || "")}]
  end
end
