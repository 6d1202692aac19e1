//! Runs a simulator as a program: `rsync-sim hubspot --port 4511`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use rsync_testkit::sim::customerio::{self, CustomerIoSim};
use rsync_testkit::sim::fault::FaultPlan;
use rsync_testkit::sim::hubspot::{self, HubSpotSim};
use rsync_testkit::sim::salesforce::{self, SalesforceSim};
use rsync_testkit::sim::server::INSPECTION_PREFIX;
use serde::de::DeserializeOwned;

const SERVICES: &str = "customerio, hubspot, salesforce";

const HELP: &str = "\
Runs a strict local simulator of a remote service until it is interrupted.

Usage: rsync-sim <service> [options]

Services:
  customerio            Customer.io, Track API v1 and v2 and the App API: people, objects, segments, activities, exports
  hubspot               HubSpot CRM, API versions v3, v4, 2026-03 and 2026-09: records, associations, lists, consent
  salesforce            Salesforce REST API, sObject Collections, composite and Bulk API 2.0, versions v60 to v68

Options:
  --port <number>       port on 127.0.0.1 (default 4511; 0 takes any free one)
  --seed <file.json>    initial state: credentials, limits, records and more; see the type Seed of the service
  --faults <file.json>  fault plan; can be replaced at run time with PUT /_sim/faults
  --quirks <file.json>  switches for behaviour that public evidence does not settle
  --unlimited           no request limits, whatever the seed says
  --tier <name>         request limits of a tier: starter, professional, enterprise or marketplace (hubspot only)
  --region <us|eu>      where the account lives; --host-region says whose host is played (customerio only)
  --host-region <us|eu>
  --tls                 serve HTTPS with a certificate authority made for this run
  --ca-out <file.pem>   where to write the authority's certificate (needs --tls)
  --key-out <file.pem>  where to write the private key that signs in (salesforce only)
  --api-limit <number>  API calls in any 24 hours (salesforce only)
  --bulk-queue <ms>     milliseconds from closing a bulk job to its first rows (salesforce only)
  --bulk-chunk <ms>     milliseconds for 200 rows of a bulk job (salesforce only)
  --help                this text

Inspection, outside the service's own paths:
  GET  /_sim/stats              what was requested and written, in numbers
  GET  /_sim/requests           method, path, status and rows of each request
  GET  /_sim/faults             fault rules with their counts; PUT or POST replaces, DELETE clears them
  POST /_sim/reset              resets the statistics
  customerio:
  GET  /_sim/people             who is stored; /_sim/objects, /_sim/segments, /_sim/activities and /_sim/lints list
                                the rest
  POST /_sim/drain              applies what is accepted and waits
  POST /_sim/reset?what=workspace   resets the people too
  hubspot:
  GET  /_sim/records/{object}   what is stored; /_sim/lists lists the lists
  GET  /_sim/associations/{object}/{id}/{to}   whom a record is associated with
  POST /_sim/reset?what=portal  resets the records too
  salesforce:
  GET  /_sim/records/{object}   what is stored
  GET  /_sim/jobs               bulk jobs with their states and counts
  POST /_sim/reset?what=org     resets the records too
  POST /_sim/expire             ends all sessions
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("rsync-sim: {problem}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug)]
struct Options {
    port: u16,
    seed: Option<PathBuf>,
    faults: Option<PathBuf>,
    quirks: Option<PathBuf>,
    unlimited: bool,
    tier: Option<hubspot::Tier>,
    region: Option<customerio::Region>,
    host_region: Option<customerio::Region>,
    tls: bool,
    ca_out: Option<PathBuf>,
    key_out: Option<PathBuf>,
    api_limit: Option<u64>,
    bulk_queue: Option<u64>,
    bulk_chunk: Option<u64>,
}

impl Options {
    fn without_tier(&self) -> Result<(), String> {
        match self.tier {
            Some(_) => Err("--tier: this service has no tiers; leave it out".to_owned()),
            None => Ok(()),
        }
    }

    fn without_region(&self) -> Result<(), String> {
        match (self.region, self.host_region) {
            (None, None) => Ok(()),
            _ => Err("--region, --host-region: this service has no regions; leave them out".to_owned()),
        }
    }

    /// Refuses what only Salesforce has.
    fn without_salesforce(&self) -> Result<(), String> {
        if self.key_out.is_some() {
            return Err("--key-out: this service signs nobody in with a key; leave it out".to_owned());
        }
        let own =
            [("--api-limit", self.api_limit), ("--bulk-queue", self.bulk_queue), ("--bulk-chunk", self.bulk_chunk)];
        match own.iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(format!("{name}: only salesforce has it; leave it out")),
            None => Ok(()),
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let Some(service) = arguments.next() else {
        return Err(format!("no service named; name one of: {SERVICES}\n\n{HELP}"));
    };
    if service == "--help" || service == "-h" {
        print!("{HELP}");
        return Ok(());
    }
    let Some(options) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    match service.as_str() {
        "customerio" => customerio(&options),
        "hubspot" => hubspot(&options),
        "salesforce" => salesforce(&options),
        other => Err(format!("service {other:?} is not known; name one of: {SERVICES}")),
    }
}

/// Reads the options; `None` when help is asked for.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        port: 4511,
        seed: None,
        faults: None,
        quirks: None,
        unlimited: false,
        tier: None,
        region: None,
        host_region: None,
        tls: false,
        ca_out: None,
        key_out: None,
        api_limit: None,
        bulk_queue: None,
        bulk_chunk: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} lacks its value; see --help"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--port" => {
                let text = value()?;
                options.port =
                    text.parse().map_err(|_| format!("--port: {text:?} is no port; give a number from 0 to 65535"))?;
            }
            "--seed" => options.seed = Some(value()?.into()),
            "--faults" => options.faults = Some(value()?.into()),
            "--quirks" => options.quirks = Some(value()?.into()),
            "--unlimited" => options.unlimited = true,
            "--tier" => options.tier = Some(named("--tier", value()?)?),
            "--region" => options.region = Some(named("--region", value()?)?),
            "--host-region" => options.host_region = Some(named("--host-region", value()?)?),
            "--tls" => options.tls = true,
            "--ca-out" => options.ca_out = Some(value()?.into()),
            "--key-out" => options.key_out = Some(value()?.into()),
            "--api-limit" => options.api_limit = Some(number(&argument, &value()?)?),
            "--bulk-queue" => options.bulk_queue = Some(number(&argument, &value()?)?),
            "--bulk-chunk" => options.bulk_chunk = Some(number(&argument, &value()?)?),
            other => return Err(format!("option {other:?} is not known; see --help")),
        }
    }
    match (options.tls, &options.ca_out) {
        (false, Some(_)) => {
            Err("--ca-out: there is a certificate only with --tls; add --tls or leave it out".to_owned())
        }
        (true, None) => Err("--tls: clients need the authority's certificate; add --ca-out <file.pem>".to_owned()),
        _ => Ok(Some(options)),
    }
}

fn number(option: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{option}: {text:?} is no whole number; give one from 0 on"))
}

/// One of the names that a setting has, as a seed spells it.
fn named<T: DeserializeOwned>(option: &str, name: String) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(name)).map_err(|e| format!("{option}: {e}; see --help"))
}

fn customerio(options: &Options) -> Result<(), String> {
    options.without_salesforce()?;
    options.without_tier()?;
    let mut seed = match &options.seed {
        Some(path) => customerio::Seed::from_json(&text_of("--seed", path)?).map_err(|e| format!("--seed: {e}"))?,
        None => customerio::Seed::default(),
    };
    if options.unlimited {
        seed.rate_limits = customerio::RateLimits::Unlimited;
    }
    seed.region = options.region.unwrap_or(seed.region);
    seed.host_region = options.host_region.or(seed.host_region);
    let mut builder =
        CustomerIoSim::builder().with_seed(seed).with_port(options.port).with_faults(fault_plan(options)?);
    if let Some(quirks) = quirks(options)? {
        builder = builder.with_quirks(quirks);
    }
    if options.tls {
        builder = builder.with_tls();
    }
    serve(async {
        let sim = builder.start().await.map_err(|e| e.to_string())?;
        write_pem("--ca-out", options.ca_out.as_ref(), sim.ca_pem())?;
        println!("Customer.io simulator of workspace {}", sim.environment_id());
        println!("base URL:    {}", sim.base_url());
        // The keys are test data from the seed: they open nothing else.
        println!("site id:     {}", sim.site_id());
        println!("API key:     {}", sim.api_key());
        println!("App API key: {}", sim.app_api_key());
        println!("inspection:  {}{INSPECTION_PREFIX}/stats", sim.base_url());
        interrupted(sim).await
    })
}

fn hubspot(options: &Options) -> Result<(), String> {
    options.without_salesforce()?;
    options.without_region()?;
    let mut seed = match &options.seed {
        Some(path) => hubspot::Seed::from_json(&text_of("--seed", path)?).map_err(|e| format!("--seed: {e}"))?,
        None => hubspot::Seed::default(),
    };
    match (options.unlimited, options.tier) {
        (true, Some(_)) => return Err("--tier, --unlimited: a tier has limits; leave one of them out".to_owned()),
        (true, None) => seed.rate_limits = hubspot::RateLimits::Unlimited,
        (false, Some(tier)) => seed.rate_limits = hubspot::RateLimits::Tier(tier),
        (false, None) => {}
    }
    let mut builder = HubSpotSim::builder().with_seed(seed).with_port(options.port).with_faults(fault_plan(options)?);
    if let Some(quirks) = quirks(options)? {
        builder = builder.with_quirks(quirks);
    }
    if options.tls {
        builder = builder.with_tls();
    }
    serve(async {
        let sim = builder.start().await.map_err(|e| e.to_string())?;
        write_pem("--ca-out", options.ca_out.as_ref(), sim.ca_pem())?;
        println!("HubSpot simulator of portal {}", sim.portal_id());
        println!("base URL:   {}", sim.base_url());
        // The token is test data from the seed: it opens nothing else.
        println!("token:      {}", sim.token());
        println!("inspection: {}{INSPECTION_PREFIX}/stats", sim.base_url());
        interrupted(sim).await
    })
}

fn salesforce(options: &Options) -> Result<(), String> {
    options.without_tier()?;
    options.without_region()?;
    let mut seed = match &options.seed {
        Some(path) => salesforce::Seed::from_json(&text_of("--seed", path)?).map_err(|e| format!("--seed: {e}"))?,
        None => salesforce::Seed::default(),
    };
    if options.unlimited {
        (seed.api_limit, seed.concurrent_limit) = (u64::MAX, None);
        (seed.bulk.daily_batches, seed.bulk.daily_rows) = (u64::MAX, u64::MAX);
    }
    seed.api_limit = options.api_limit.unwrap_or(seed.api_limit);
    seed.bulk.queue_ms = options.bulk_queue.unwrap_or(seed.bulk.queue_ms);
    seed.bulk.chunk_ms = options.bulk_chunk.unwrap_or(seed.bulk.chunk_ms);
    let mut builder =
        SalesforceSim::builder().with_seed(seed).with_port(options.port).with_faults(fault_plan(options)?);
    if let Some(quirks) = quirks(options)? {
        builder = builder.with_quirks(quirks);
    }
    if options.tls {
        builder = builder.with_tls();
    }
    serve(async {
        let sim = builder.start().await.map_err(|e| e.to_string())?;
        write_pem("--ca-out", options.ca_out.as_ref(), sim.ca_pem())?;
        write_pem("--key-out", options.key_out.as_ref(), Some(sim.private_key_pem()))?;
        println!("Salesforce simulator of organization {}", sim.organization_id());
        println!("base URL:      {}", sim.base_url());
        println!("client id:     {}", sim.client_id());
        // The secret is test data from the seed, and the key is made for this run: they open nothing else.
        println!("client secret: {}", sim.client_secret());
        println!("username:      {}", sim.username());
        match &options.key_out {
            Some(path) => println!("private key:   {}", path.display()),
            None => println!("private key:   not written; start with --key-out <file.pem>"),
        }
        println!("inspection:    {}{INSPECTION_PREFIX}/stats", sim.base_url());
        interrupted(sim).await
    })
}

fn fault_plan(options: &Options) -> Result<FaultPlan, String> {
    let Some(path) = &options.faults else { return Ok(FaultPlan::default()) };
    FaultPlan::from_json(&text_of("--faults", path)?).map_err(|e| format!("--faults: {e}"))
}

fn quirks<Q: DeserializeOwned>(options: &Options) -> Result<Option<Q>, String> {
    let Some(path) = &options.quirks else { return Ok(None) };
    let read = serde_json::from_str(&text_of("--quirks", path)?);
    read.map(Some).map_err(|e| format!("--quirks: {e}; see the field names of Quirks"))
}

fn serve(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start: {e}; free resources of this machine"))?;
    runtime.block_on(work)
}

/// Keeps a simulator running until the program is interrupted.
async fn interrupted<S>(sim: S) -> Result<(), String> {
    let waited = tokio::signal::ctrl_c().await;
    drop(sim);
    waited.map_err(|e| format!("cannot wait for an interrupt: {e}; run it in a terminal"))
}

fn write_pem(option: &str, path: Option<&PathBuf>, pem: Option<&str>) -> Result<(), String> {
    let (Some(path), Some(pem)) = (path, pem) else { return Ok(()) };
    std::fs::write(path, pem)
        .map_err(|e| format!("{option}: cannot write {}: {e}; choose a writable path", path.display()))
}

fn text_of(option: &str, path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|e| format!("{option}: cannot read {}: {e}; give the path of a readable JSON file", path.display()))
}
