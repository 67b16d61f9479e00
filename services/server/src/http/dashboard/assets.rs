//! The files that pages need beside themselves: one style, one script, one icon. Their addresses have the hash of what they are,
//! so browsers keep them for good.

use std::sync::LazyLock;

/// A file that is built in.
pub(in crate::http) struct Asset {
    stem: &'static str,
    extension: &'static str,
    pub(in crate::http) content_type: &'static str,
    pub(in crate::http) text: &'static str,
}

pub(in crate::http) static STYLE: LazyAsset = LazyAsset(LazyLock::new(|| {
    Named::of(Asset {
        stem: "dashboard",
        extension: "css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("styles/dashboard.css"),
    })
}));
pub(in crate::http) static SCRIPT: LazyAsset = LazyAsset(LazyLock::new(|| {
    Named::of(Asset {
        stem: "dashboard",
        extension: "js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("script/dashboard.js"),
    })
}));
pub(in crate::http) static ICON: LazyAsset = LazyAsset(LazyLock::new(|| {
    Named::of(Asset {
        stem: "icon",
        extension: "svg",
        content_type: "image/svg+xml",
        text: include_str!("styles/icon.svg"),
    })
}));

/// An asset with its address.
struct Named {
    asset: Asset,
    url: String,
}

impl Named {
    fn of(asset: Asset) -> Self {
        let hash = crc32c::crc32c(asset.text.as_bytes());
        let url = format!("/assets/{}-{hash:08x}.{}", asset.stem, asset.extension);
        Self { asset, url }
    }
}

/// An asset whose address is made when it is first needed.
pub(in crate::http) struct LazyAsset(LazyLock<Named>);

impl LazyAsset {
    pub(in crate::http) fn url(&self) -> &str {
        &self.0.url
    }
}

/// The asset of this name, the last part of its address.
pub(in crate::http) fn find(name: &str) -> Option<&'static Asset> {
    let all = [&STYLE, &SCRIPT, &ICON].map(|asset| &*asset.0);
    all.into_iter().find(|named| named.url.rsplit('/').next() == Some(name)).map(|named| &named.asset)
}
