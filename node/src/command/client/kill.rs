//! CLIENT KILL.

use super::{
    super::{CommandError, Context},
    list::Kind,
};
use crate::{
    client::{Doom, Handle},
    resp::{Request, parse_integer},
};

/// Which connections CLIENT KILL ends.
struct Victims<'a> {
    id: Option<u64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<Kind>,
    spares_self: bool,
}

impl<'a> Victims<'a> {
    fn parse(request: Request<'a>) -> Result<Self, CommandError> {
        let mut victims = Self {
            id: None,
            address: None,
            local_address: None,
            kind: None,
            spares_self: true,
        };
        if request.len() == 3 {
            return Ok(Self {
                address: request.get(2),
                spares_self: false,
                ..victims
            });
        }
        let mut args = request.iter().skip(2);
        while let (Some(option), value) = (args.next(), args.next()) {
            let value = value.ok_or(CommandError::Syntax)?;
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_integer(value)
                        .and_then(|id| u64::try_from(id).ok())
                        .filter(|id| *id > 0);
                    victims.id = Some(id.ok_or_else(|| {
                        CommandError::text("ERR client-id should be greater than 0")
                    })?);
                }
                b"type" => victims.kind = Some(Kind::parse(value)?),
                b"addr" => victims.address = Some(value),
                b"laddr" => victims.local_address = Some(value),
                b"user" if value == b"default" => {}
                b"user" => return Err(CommandError::quoted("ERR No such user '", value, "'")),
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => victims.spares_self = true,
                    b"no" => victims.spares_self = false,
                    _ => return Err(CommandError::Syntax),
                },
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(victims)
    }

    fn include(&self, handle: &Handle) -> bool {
        let is_at = |wanted: Option<&[u8]>, address: &dyn ToString| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.id.is_none_or(|id| id == handle.id)
            && self.kind.is_none_or(|kind| kind == Kind::of(handle))
            && is_at(self.address, &handle.address)
            && is_at(self.local_address, &handle.local_address)
    }
}

pub(super) fn kill(ctx: &mut Context<'_, '_>, request: Request<'_>) -> Result<(), CommandError> {
    let victims = Victims::parse(request)?;
    let mut killed = 0;
    for handle in ctx
        .server
        .clients
        .all()
        .iter()
        .filter(|handle| victims.include(handle))
    {
        if handle.id != ctx.client.handle.id {
            handle.end(Doom::Killed);
        } else if victims.spares_self {
            continue;
        } else {
            ctx.client.is_leaving = true;
        }
        killed += 1;
    }
    match (request.len(), killed) {
        (3, 0) => return Err(CommandError::text("ERR No such client")),
        (3, _) => ctx.reply.ok(),
        _ => ctx.reply.integer(killed),
    }
    Ok(())
}
