//! Endpoints about the organization itself: versions, resources, limits, objects and their descriptions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::org::{Call, Org};
use super::reply::{Answer, Refusal, Reply};
use super::routes::VERSIONS;

pub(crate) fn versions(_org: &mut Org, _call: &Call) -> Answer {
    // Three releases a year; the numbering of the years begins before the calendar's.
    let release = |version: u32| {
        let (season, year) = (["Spring", "Summer", "Winter"][(version % 3) as usize], 24 + (version - 60) / 3);
        let year = if season == "Winter" { year + 1 } else { year };
        format!("{season} '{year}")
    };
    let listed: Vec<Value> = VERSIONS
        .map(|version| {
            json!({ "label": release(version), "url": format!("/services/data/v{version}.0"), "version": format!("{version}.0") })
        })
        .collect();
    Ok(Reply::json(200, &listed))
}

pub(crate) fn resources(org: &mut Org, call: &Call) -> Answer {
    let root = call.root();
    let paths =
        ["composite", "jobs", "limits", "query", "queryAll", "sobjects"].map(|name| (name, format!("{root}/{name}")));
    let mut body: BTreeMap<&str, String> = paths.into_iter().collect();
    body.insert("identity", format!("{}/id/{}/{}", call.base_url, org.organization_id, org.user_id));
    Ok(Reply::json(200, &body))
}

pub(crate) fn limits(org: &mut Org, _call: &Call) -> Answer {
    let (max, used) = (org.usage.max(), org.usage.used());
    let now_ms = org.now_ms();
    let batches_left = org.jobs.batches.left(now_ms);
    let full = |max: u64| json!({ "Max": max, "Remaining": max });
    Ok(Reply::json(
        200,
        &json!({
            "DailyApiRequests": { "Max": max, "Remaining": max.saturating_sub(used) },
            "DailyBulkApiBatches": { "Max": org.jobs.batches.max(), "Remaining": batches_left },
            "DailyBulkV2QueryJobs": full(10_000),
            "DataStorageMB": full(5),
            "FileStorageMB": full(20),
        }),
    ))
}

pub(crate) fn objects(org: &mut Org, call: &Call) -> Answer {
    let root = call.root();
    let listed: Vec<Value> = org.objects.iter().map(|object| object.summary(&root)).collect();
    Ok(Reply::json(200, &json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": listed })))
}

pub(crate) fn summary(org: &mut Org, call: &Call) -> Answer {
    let object = org.object(call.segment(1)).ok_or_else(Refusal::not_found)?;
    let described = org.objects[object].summary(&call.root());
    Ok(Reply::json(200, &json!({ "objectDescribe": described, "recentItems": [] })))
}

pub(crate) fn object(org: &mut Org, call: &Call) -> Answer {
    let object = org.object(call.segment(1)).ok_or_else(Refusal::not_found)?;
    let object = &org.objects[object];
    let mut children = Vec::new();
    for child in &org.objects {
        let pointing = child.fields.iter().filter(|field| field.reference_to.contains(&object.name));
        children.extend(pointing.map(|field| (child.name.clone(), field.name.to_string())));
    }
    Ok(Reply::json(200, &object.describe(&call.root(), &children)))
}
