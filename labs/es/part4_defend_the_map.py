# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# ## 8. Cuántas hectáreas
#
# Al final, la práctica 3 estimó superficies con una muestra que tomó sola. Aquí haces lo que hace un equipo: planear la muestra, sortearla, hacer que una persona la etiquete y estimar. Para esto solo hace falta la sección 1.
#
# En el recuadro hay pocas parcelas. Por eso, en el delta primero se predice un mapa mayor, a partir de las escenas: todas las áreas y el terreno entre ellas. Una parte de este terreno estuvo en el entrenamiento, en otro año. Aquí no importa: una muestra aleatoria corrige cualquier mapa.

# %%
import numpy as np
import pandas as pd

from arsetlib import wording
from arsetlib.study import Area

wide = made
if delta:
    corners = np.array([a.bounds for a in study.areas])
    bounds = (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())
    area = Area(
        "whole", {"en": "Whole delta", "es": "Todo el delta"}, bounds, box.crs
    )
    how = {"area": area, "year": year, "study": study, "progress": here.bars}
    wide = maps.predict(model, here.scenes(), start, runs / "whole", **how)
print(wide)

# %%
truth_file = study.root / f"truth_{year}.tif"
knows_truth = study.simulated and truth_file.is_file()
expert = maps.labels_on(wide, truth_file if knows_truth else labels)
mapped = maps.ClassMap.open(wide.path())

# %%
print(
    "el experto sabe la verdad" if knows_truth else "la verdad: las etiquetas"
)
print(
    f"{(expert >= 0).sum():,} de {mapped.sizes.sum():,} píxeles tienen una clase"
)
assert expert.shape == wide.read().shape

# %% [markdown]
# `expert` es lo que encontraría una visita a cada píxel. Los píxeles con dos cultivos en el año no tienen una sola clase. Donde nadie sabe la verdad, la práctica toma las etiquetas; entonces todo lo que sigue trata de las etiquetas, con sus errores.
#
# :::{admonition} Predice
# :class: predict
# Cuentas los píxeles de cada clase en el mapa. ¿Las superficies de las clases raras salen demasiado grandes o demasiado pequeñas?
# :::

# %%
hectare = mapped.hectares  # de un píxel
known = np.bincount(expert[expert >= 0], minlength=K)
true_ha = known / known.sum() * mapped.sizes.sum() * hectare
counted = pd.DataFrame(
    {"recuento": mapped.sizes * hectare, "verdad": true_ha}, names
)
counted["de más"] = counted["recuento"] - counted["verdad"]
figures.show(
    counted.round(1).rename_axis("clase").reset_index(),
    "Hectáreas de cada clase: contadas en el mapa y verdaderas",
)

# %%
rare = counted[counted["verdad"] > 0].nsmallest(2, "verdad")
print(
    "las dos más raras:",
    ", ".join(rare.index),
    rare["de más"].round(1).tolist(),
)
if delta:
    assert (rare["de más"] < 0).all()

# %% [markdown]
# En el delta, las superficies de las dos clases más raras salen demasiado pequeñas. Un modelo que duda toma la clase frecuente, así que el recuento favorece a las clases grandes. El recuento no tiene intervalo de confianza, y mirar el mapa no muestra este error. Una muestra, sí.
#
# ### Planear
#
# ¿Cuántos píxeles hay que etiquetar? Depende del intervalo que quieras. `plan_sample` responde antes de que nadie haya etiquetado nada; necesita una suposición de cuántas veces acierta el mapa.
#
# :::{admonition} Predice
# :class: predict
# Una muestra de cierto tamaño da un intervalo de ± 10 % de la superficie de un cultivo. ¿Cuántas veces más píxeles hacen falta para ± 5 %: 1,4 veces, dos veces o cuatro veces?
# :::

# %%
sizes = pd.Series(mapped.sizes, study.legend.keys)
crops = set(evaluation.single_crops(study.legend)) & set(sizes[sizes > 0].index)
target = sizes[sorted(crops)].idxmax() if crops else sizes.idxmax()
print(f"{target}: {sizes[target] * hectare:,.0f} ha en el mapa")
assert sizes[target] > 0

# %%
size = min(400, max(20, int(sizes.sum()) // 10))
least = min(30, size // K, int(sizes[sizes > 0].min()))  # de cada clase
goal = {"target": target, "users": 0.8, "least": least}
needed = {}
for percent in (10, 5):
    wanted = percent / 100 * sizes[target] * hectare
    for kind in ("random", "proportional"):
        plan = maps.plan_sample(
            mapped, allocation=kind, half_width=wanted, **goal
        )
        needed.setdefault(kind, {})[f"± {percent} %"] = plan.size
needed = pd.DataFrame(needed)
print(wording.shown(needed).to_string())

# %%
times = needed.iloc[1] / needed.iloc[0]
print("la mitad del intervalo, tantas veces más:", times.round(1).to_dict())
assert (times >= 1).all()
if delta:
    assert times.between(3, 4).all()

# %% [markdown]
# La última línea responde la pregunta. En un mapa muy grande son cuatro veces: el error baja con la raíz cuadrada de la muestra. En un mapa pequeño son menos, porque la muestra llega a ser una gran parte del mapa. Una muestra *proporcional*, con una parte fija de cada clase del mapa, necesita menos píxeles que una aleatoria simple si el mapa es bueno.
#
# ### Sortear y etiquetar
#
# `draw_sample` sortea píxeles al azar y anota la probabilidad de que saliera cada uno. `save` los escribe para una hoja de cálculo y para un SIG, con un protocolo para la persona que etiqueta.

# %%
plan = maps.plan_sample(mapped, size, least=least)
sample = maps.draw_sample(mapped, plan, seed=1)
shutil.rmtree(runs / "visit", ignore_errors=True)  # si no, se protegen
print(plan)
print(", ".join(file.name for file in sample.save(runs / "visit")))
stands_for = (1 / sample.table["inclusion_probability"]).sum()
assert np.isclose(stands_for, sizes.sum())

# %%
print((runs / "visit" / "README.txt").read_text(encoding="utf-8")[:830])
columns = ["id", "lon", "lat", "inclusion_probability", "label"]
figures.show(
    sample.table[columns].head(4).round(4).astype(str),
    "Los primeros puntos de la muestra, todavía sin etiqueta",
)
assert (sample.table["label"] == "").all()

# %% [markdown]
# La regla más importante del README: *etiqueta el terreno, no el mapa*. Por eso la página para etiquetar no muestra lo que dice el mapa. Muestra las imágenes de cada píxel y su serie, no necesita red y guarda las etiquetas mientras trabajas. La celda siguiente hace una página con unos pocos puntos del recuadro; `arset label` hace la de una muestra entera. Abre el archivo en un navegador.

# %%
on_box = maps.ClassMap.open(made.path())
few = maps.plan_sample(on_box, 8, allocation="random")
few = maps.draw_sample(on_box, few, seed=2)
page = runs / "label.html"
page.unlink(missing_ok=True)
views = maps.views_of_table(table, few.table, year=year, dates=8)
figures.labelling_page(few, views, page)
print(f"{page}: {page.stat().st_size / 1e3:.0f} kB")
assert len(views.days) == len(few.table) == 8

# %% [markdown]
# En la práctica, el experto etiqueta la muestra en un momento:

# %%
import rasterio
from rasterio.transform import rowcol


def pixels_at(file, points):
    """(N,) filas y columnas de un ráster en puntos con x e y."""
    with rasterio.open(file) as raster:
        return np.array(rowcol(raster.transform, points["x"], points["y"]), int)


row, column = pixels_at(wide.path(), sample.table)
keys = np.array([*study.legend.keys, ""])  # la última, -1: ninguna clase sola
filled = sample.table.assign(label=keys[expert[row, column]])
filled.to_csv(runs / "visit" / "sample.csv", index=False)
visited = maps.MapSample.load(runs / "visit")
print(wording.shown(visited.table["label"].value_counts()).to_string())
assert np.array_equal(visited.table["label"], filled["label"])

# %%
result = maps.sample_areas(visited, mapped)
estimated, powered = result.areas.table, result.powered
print(
    f"{result.labelled} etiquetas; exactitud del mapa {result.areas.accuracy:.3f}",
    end="",
)
print(f" ({result.areas.accuracy_low:.3f} a {result.areas.accuracy_high:.3f})")

# %%
figures.show(
    figures.areas(result.areas, study=study),
    "Proporción de cada clase: contada en el mapa y estimada con la muestra",
)
assert result.labelled + len(result.unlabelled) == plan.size

# %%
shown = counted[["recuento", "verdad"]].copy()
for name, found in {
    "muestra": estimated,
    "con probabilidades": powered,
}.items():
    shown[name] = found["area"]
    low, high = found["area_low"], found["area_high"]
    shown[f"{name}, 95 %"] = [
        f"{a:.1f} a {b:.1f}" for a, b in zip(low, high, strict=True)
    ]
    inside = shown["verdad"].between(low, high)
    print(f"{name}: {inside.sum()} de {K} intervalos contienen la verdad")

# %%
figures.show(
    shown.round(1).rename_axis("clase").reset_index(),
    "Hectáreas: contadas, verdaderas y estimadas con intervalos del 95 %",
)
off = shown[["recuento", "muestra"]].sub(shown["verdad"], axis=0).abs().sum()
print("hectáreas lejos de la verdad:", wording.shown(off.round(1)).to_dict())

# %% tags=["hide-input"]
width = pd.DataFrame(
    {
        name: found["area_high"] - found["area_low"]
        for name, found in {
            "solo etiquetas": estimated,
            "con probabilidades": powered,
        }.items()
    }
)
print(wording.shown(width.round(1)).to_string())

# %%
ratio = width["con probabilidades"].sum() / width["solo etiquetas"].sum()
print(f"con probabilidades: {ratio:.2f} veces el ancho")
assert (width >= 0).all(axis=None)
if delta:
    assert off["muestra"] < off["recuento"]
    assert ratio < 1

# %% [markdown]
# En el delta, la muestra se acerca más a la verdad que el recuento de todos los píxeles, aunque tiene pocos. La columna *con probabilidades* es la inferencia potenciada por predicciones (Angelopoulos y otros, 2023): añade las probabilidades del modelo en todos los píxeles y corrige su sesgo con las mismas etiquetas. El cociente dice cuánto más estrechos son sus intervalos: cuanto mejores las probabilidades, más estrechos. Si el modelo fuera malo, decidirían solo las etiquetas.
#
# :::{admonition} Ejercicio 1
# :class: exercise
# Sortea la muestra otra vez con las semillas 2, 3 y 4. ¿Cuántas veces contienen los intervalos la superficie verdadera? ¿Está la estimación siempre más cerca de la verdad que el recuento?
# :::

# %% tags=["hide-cell"]
# Solución
for seed in (2, 3, 4):
    again = maps.draw_sample(mapped, plan, seed=seed)
    row, column = pixels_at(wide.path(), again.table)
    again.table["label"] = keys[expert[row, column]]
    found = maps.sample_areas(again, mapped).areas.table
    hold = shown["verdad"].between(found["area_low"], found["area_high"])
    away = (found["area"] - shown["verdad"]).abs().sum()
    print(f"semilla {seed}: {hold.sum()} de {K} la contienen, a {away:.1f} ha")
# Una muestra puede tener mala suerte: una sola no muestra si el 95 % se cumple.

# %% [markdown]
# ## 9. ¿El 95 % es el 95 %?
#
# Un intervalo del 95 % promete algo: si sorteas la muestra una y otra vez, 95 de cada 100 intervalos contienen la superficie verdadera. En la Tierra nadie puede comprobarlo, porque nadie sabe la superficie verdadera. En el delta, tú puedes: sortea 500 muestras y cuenta.
#
# Se comparan dos intervalos. El *normal* es la estimación ± 1,96 errores estándar, como en muchos artículos. `evaluation.limits` añade un píxel que no se vio, porque una clase rara puede estar donde no se sorteó ninguno.
#
# :::{admonition} Predice
# :class: predict
# Muestras de 100 píxeles. ¿En qué clases contiene el intervalo normal la verdad menos veces de lo que dice: en las frecuentes o en las raras?
# :::

# %%
there = (expert >= 0) & ~np.ma.getmaskarray(wide.read())
truth = expert[there].astype(int)  # (N,)
predicted = wide.read().data[there].astype(int)  # (N,)
strata = np.bincount(predicted, minlength=K)
weight = strata / strata.sum()
true_share = np.bincount(truth, minlength=K) / len(truth)
members = [np.flatnonzero(predicted == k) for k in range(K)]
print(
    f"{len(truth):,} píxeles; aciertos del mapa: {(truth == predicted).mean():.1%}"
)
assert np.isclose(weight.sum(), 1)


# %%
def draw(size, least=8, repeats=500):
    """(R, n) píxeles: tantos al azar en cada clase del mapa, R veces."""
    rng = np.random.default_rng(study.seed)
    least = min(least, size // K)
    n = evaluation.allocation("proportional", size, strata, least=least)
    n = np.minimum(n, strata)
    parts = [
        rng.permuted(np.tile(m, (repeats, 1)), axis=1)[:, :k]
        for m, k in zip(members, n, strict=True)
    ]
    return np.concatenate(parts, axis=1)


# %%
def estimate(rows, labelled):
    """Proporciones de las clases y sus errores estándar, (R, K) cada uno."""
    share, variance = np.zeros((2, len(rows), K))
    for k in np.unique(predicted[rows[0]]):  # igual en cada repetición
        hit = np.eye(K)[labelled[:, predicted[rows[0]] == k]]  # (repeats, n, K)
        n, p = hit.shape[1], hit.mean(1)
        share += weight[k] * p
        left = 1 - n / strata[k]  # de la clase quedó fuera
        variance += weight[k] ** 2 * left * p * (1 - p) / max(n - 1, 1)
    return share, np.sqrt(variance)


# %%
size = 100 if delta else min(100, len(truth) // 2)
rows = draw(size)
share, error = estimate(rows, truth[rows])
first = np.zeros((K, K, K), int)
np.add.at(first, (predicted[rows[0]], truth[rows[0]], predicted[rows[0]]), 1)
library = evaluation.survey_areas(first, strata, strata, names).table
print(f"{len(rows)} muestras de {rows.shape[1]} píxeles")
assert np.allclose(share[0], library["share"])
assert np.allclose(error[0], library["share_error"])


# %% [markdown]
# La función hecha a mano coincide con la de la biblioteca. Ahora los intervalos, y con qué frecuencia contiene cada uno la proporción verdadera:


# %%
def unseen(rows):
    """La mayor parte del mapa que representaría un píxel más."""
    n = np.bincount(predicted[rows[0]], minlength=K)
    return np.divide(
        weight * (1 - n / strata.clip(1)), n, where=n > 0, out=0 * weight
    ).max()


# %%
def held(low, high):
    """(K,) con qué frecuencia los intervalos contienen la verdad, de 1."""
    return ((low <= true_share) & (true_share <= high)).mean(0)


# %%
probability = np.ma.getdata(wide.read("probability"))[:, there].T
probability = probability / probability.sum(1, keepdims=True)
everywhere = evaluation.ProbabilitySums.of(probability, predicted, K)
print(f"{probability.shape[0]:,} píxeles con {K} probabilidades")

# %%
ends = {
    "normal": (share - 1.96 * error, share + 1.96 * error),
    "1 sin ver": evaluation.limits(share, error, unseen(rows)),
}
found = [
    evaluation.powered_areas(
        truth[r], probability[r], predicted[r], everywhere, names
    )
    for r in rows
]
ends["con probabilidades"] = tuple(
    np.stack([f[f"share_{end}"] for f in found]) for end in ("low", "high")
)

# %%
coverage = pd.DataFrame({name: held(*e) for name, e in ends.items()}, names)
coverage.insert(0, "proporción", true_share)
coverage = coverage[coverage["proporción"] > 0].sort_values("proporción")
fig = figures.bars(
    100 * coverage.drop(columns="proporción"), f"{size} etiquetas: intervalos con la verdad",
    "porcentaje de 500 muestras", study=study, mode="group", text=".0f",
)  # fmt: skip
figures.show(fig, "Intervalos del 95 % que contienen la verdad, por clase")

# %%
overall = coverage.drop(columns="proporción").agg(["mean", "min"])
print(wording.shown((100 * overall).round(1)).to_string())

# %%
widths = {name: 100 * (e[1] - e[0]).mean() for name, e in ends.items()}
print(
    "ancho medio, % del mapa:",
    wording.shown(pd.Series(widths).round(1)).to_dict(),
)
assert (coverage["1 sin ver"] >= coverage["normal"] - 0.02).all()
if delta:
    assert widths["1 sin ver"] > widths["normal"]
    assert coverage["normal"].idxmin() in coverage.index[:3]
    assert coverage["1 sin ver"].mean() > 0.93

# %% [markdown]
# En el delta, el intervalo normal falla en una clase rara: muchas muestras no encuentran ninguno de sus píxeles fuera de su propio estrato, y entonces dan un intervalo demasiado estrecho. Con un píxel sin ver se cumple la promesa, y el precio es un intervalo más ancho. Los intervalos con probabilidades están al lado, en la figura, y la última línea da todos los anchos.
#
# ### Etiquetas con errores
#
# Hasta aquí el experto nunca se equivocó. Ahora una parte de las etiquetas nombra otra clase al azar.
#
# :::{admonition} Predice
# :class: predict
# El 10 % de las etiquetas es erróneo. ¿Qué intervalos contienen la verdad más veces: los de 100 etiquetas o los de 400?
# :::


# %%
def with_noise(size, percent):
    """Cobertura media si algunas etiquetas nombran otra clase."""
    rows = draw(size)
    rng = np.random.default_rng([study.seed, percent])
    other = (truth[rows] + rng.integers(1, K, rows.shape)) % K
    wrong = rng.random(rows.shape) < percent / 100
    share, error = estimate(rows, np.where(wrong, other, truth[rows]))
    low, high = evaluation.limits(share, error, unseen(rows))
    return 100 * held(low, high)[true_share > 0].mean()


# %%
percents = [0, 2, 5, 10, 20]
sizes_tried = [size, min(4 * size, len(truth))]
noise = pd.DataFrame(
    {
        f"{n} etiquetas": [with_noise(n, p) for p in percents]
        for n in sizes_tried
    },
    pd.Index(percents, name="porcentaje de etiquetas erróneas"),
)

# %%
fig = figures.lines(
    noise, "Intervalos del 95 % de etiquetas con errores", noise.index.name,
    "porcentaje que contiene la verdad", study=study,
)  # fmt: skip
figures.show(fig, "Cobertura según el porcentaje de etiquetas erróneas")
print(noise.round(1).to_string())
if delta:
    assert noise.loc[10].iloc[1] < noise.loc[10].iloc[0] < noise.loc[0].iloc[0]

# %% [markdown]
# En el delta, los de 100 etiquetas contienen la verdad más veces. En promedio, las dos muestras se equivocan en la misma cantidad, pero la mayor tiene el intervalo más estrecho, así que deja fuera la verdad más veces. Un intervalo cubre el azar del sorteo. No sabe nada de las etiquetas erróneas. Por eso una segunda persona debe etiquetar una parte de la muestra, y el informe debe decir cuántas veces coinciden las dos.
#
# :::{admonition} Ejercicio 2
# :class: exercise
# Los errores reales no son al azar: una persona puede tomar un cultivo por otro. Haz que uno de cada cinco píxeles del cultivo más frecuente lleve la etiqueta del segundo. ¿En qué clases baja la cobertura?
# :::

# %% tags=["hide-cell"]
# Solución
of_crops = [study.legend.keys.index(k) for k in sorted(crops)] or [0]
order = sorted(of_crops, key=lambda k: -true_share[k])
one, two = order[0], (order * 2)[1]
rows = draw(size)
mixed = np.random.default_rng(1).random(rows.shape) < 0.2
labelled = np.where((truth[rows] == one) & mixed, two, truth[rows])
low, high = evaluation.limits(*estimate(rows, labelled), unseen(rows))
change = pd.Series(held(low, high) - held(*ends["1 sin ver"]), names)
print(f"{names[one]} con la etiqueta {names[two]}:")
print((100 * change).round(1).to_string())
# Solo en estas dos. Los píxeles de la muestra son los mismos, y las etiquetas de
# las otras clases también. La media de todas las clases lo ocultaría.

# %% [markdown]
# ## 10. Por parcela
#
# Un agricultor siembra un cultivo en una parcela, pero el mapa decide en cada píxel. Si conoces los contornos, pueden votar todos los píxeles de la parcela. Si no, puedes cortar la imagen en *segmentos*: píxeles vecinos con una temporada parecida.
#
# El delta conoce sus contornos. Los segmentos vienen de un *compuesto*: una imagen mediana por cada 30 días de la ventana. Necesitan todos los píxeles de un área, así que otro lugar puede tener los dos, uno o ninguno.
#
# :::{admonition} Predice
# :class: predict
# Cada parcela recibe la clase de la mayoría de sus píxeles. ¿Con qué se gana más exactitud: con contornos verdaderos o con segmentos? ¿Puede un mapa por parcela ser peor que el mapa de píxeles?
# :::

# %%
from arsetlib import parcels, simulate

outlines = {}
if knows_truth:
    outlines["contornos verdaderos"] = simulate.outlines(study.root)
how = {"study": study, "start": start, "year": year, "progress": here.bars}
if delta:
    scenes = here.scenes()
    image = parcels.composite(scenes, runs / "composite.tif", area=area, **how)
elif box.every == 1:
    image = parcels.composite(
        table, runs / "composite.tif", area=box.key, **how
    )

# %%
if delta or box.every == 1:
    outlines["segmentos"] = parcels.segment(image, progress=here.bars)
print(outlines or "ni contornos ni un área densa")

# %%
by_parcel, gains = {}, {}
for name, shapes in outlines.items():
    by_parcel[name] = parcels.by_parcel(wide, shapes, progress=here.bars)
    gains[name] = by_parcel[name].gain(truth_file if knows_truth else labels)
    print(f"{name}: {gains[name]}")
    assert gains[name].pixels.total == gains[name].parcels.total

# %% tags=["hide-input"]
if gains:
    scores = pd.DataFrame(
        {
            name: {
                "parcelas": len(outlines[name]),
                "por píxel": g.pixels.accuracy,
                "por parcela": g.parcels.accuracy,
                "ganancia": g.accuracy,
                "ganancia de macro-F1": g.macro_f1,
            }
            for name, g in gains.items()
        }
    ).T
    figures.show(
        scores.round(3).rename_axis("contornos").reset_index(),
        "Exactitud por píxel y por parcela, con dos tipos de contornos",
    )
if delta:
    assert gains["contornos verdaderos"].accuracy > gains["segmentos"].accuracy

# %% tags=["hide-input"]
from types import SimpleNamespace

ground = {"por píxel": wide.read().filled(K).astype(int)}
for name, one in by_parcel.items():
    raster = one.raster(runs / f"{name.replace(' ', '_')}.tif")
    with rasterio.open(raster) as src:
        ground[name] = src.read(1).clip(0, K).astype(int)
ground["verdad" if knows_truth else "etiquetas"] = expert
shown_as = SimpleNamespace(
    colours=study.legend.colours, titles=study.legend.names
)
colours = [*study.legend.colours, "#ffffff"]
colours = np.array(
    [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]
)
pictures = {
    t: colours[classes].astype(np.uint8) for t, classes in ground.items()
}
fig = figures.panels(pictures, study=study, classes=shown_as)
figures.show(
    fig,
    "Clases por píxel, por parcela con cada tipo de contornos, y verdaderas",
)
assert all(p.shape == (*expert.shape, 3) for p in pictures.values())

# %% [markdown]
# En el delta se gana más con los contornos verdaderos. La ganancia de los segmentos dice si el mapa por segmentos es mejor o peor que el de píxeles. Si está por debajo de 0, es peor; así que sí, puede serlo. Un segmento no es una parcela. Dos parcelas de un cultivo pueden ser un solo segmento, y en él desaparecen caminos y bosques estrechos; con 30 m les quedan pocos píxeles. La macro-F1 puede bajar mientras la exactitud sube, si el voto quita una clase rara. Así que mide la ganancia antes de dar a alguien un mapa así, con etiquetas que no entrenaron el modelo.
#
# El mapa por parcela es una tabla de contornos. `save` escribe GeoParquet, que leen QGIS, DuckDB y Spark:

# %%
if by_parcel:
    chosen = by_parcel[max(gains, key=lambda name: gains[name].accuracy)]
    file = chosen.save(runs / "parcels.parquet")
    columns = ["parcel", "state", "class", "share", "margin", "hectares"]
    unsure = chosen.table.sort_values("margin")[columns]
    print(f"{file.name}: {file.stat().st_size / 1e3:.0f} kB")
    figures.show(
        unsure.head(5).round(2).astype(str),
        "Las cinco parcelas con el voto más reñido",
    )
    assert len(chosen.table) == len(chosen)

# %% [markdown]
# La tabla también dice cuán seguro fue cada voto. Una parcela con un `margin` pequeño es un buen lugar para visitar, o tiene dos cultivos.
#
# ## 11. Qué etiquetar después
#
# Puedes pagar 200 etiquetas. ¿Cuáles? El *aprendizaje activo* pide aquellas de las que el modelo está menos seguro. Una medida sencilla es el *margen*: la probabilidad de la primera clase menos la de la segunda. A mano son dos líneas:


# %%
from arsetlib import active


def by_margin(probability, count):
    """Posiciones de las muestras con el margen más pequeño."""
    two = np.sort(probability, axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0])[:count]


count = min(50, len(probability))
mine = by_margin(probability, count)
theirs = active.choose(probability, count, method="margin")
for name, chosen in (("a mano", mine), ("biblioteca", theirs)):
    margins = np.sort(active.uncertainty(probability[chosen]))
    print(f"{name}: incertidumbre de {margins[0]:.3f} a {margins[-1]:.3f}")
assert np.allclose(active.uncertainty(probability[mine]).min(), margins[0])

# %% [markdown]
# ¿Sirve de algo? En el delta se puede responder, con la verdad como experto: entrena con 20 etiquetas al azar, pide 30 más y entrena otra vez. Todos los métodos empiezan con las mismas etiquetas, y aprende un bosque pequeño.
#
# - `margin`: los márgenes más pequeños.
# - `k_centre`: muestras lejos unas de otras y de todo lo etiquetado.
# - `cluster`: de muchas con un margen pequeño, una de cada uno de varios grupos.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué manera de elegir es mejor que las etiquetas al azar: las tres, algunas o ninguna? ¿Qué puede salir mal si pides solo aquello de lo que el modelo está menos seguro?
# :::


# %%
from arsetlib import pixels


def codes_of(rows):
    """Códigos de etiqueta de filas; los verdaderos si se conocen."""
    codes, when = rows.column("label_code").copy(), rows.column("year")
    points = {n: rows.column(n) for n in ("x", "y")}
    for y in np.unique(when) if knows_truth else []:
        file = study.root / f"truth_{y}.tif"
        row, column = pixels_at(file, points)
        with rasterio.open(file) as raster:
            grown = raster.read(1)[row, column]
        codes = np.where(when == y, grown, codes)
    return codes.astype(int)


# %% tags=["hide-input"]
def known_samples(side):
    """Ventanas de un conjunto desde el día `start`, con lo que creció; y filas."""
    rows = sides[side]
    days = samples.start_days(rows.column("year"), start)
    how = {"choose": "median", "fill": "linear"}
    w = samples.window(pixels.ragged(rows.read()), study.season, days, **how)
    classes = study.legend.classes_of(codes_of(rows))
    classes = samples.apply_vegetation_rule(classes, w.vegetation, study.legend)
    use = (classes >= 0) & (w.images > 0)
    x = w.x[use].reshape(use.sum(), -1) / 10_000
    return active.KnownSamples(x, classes[use].astype(int)), rows.pick(use)


# %%
(pool, pool_rows), (exam, exam_rows) = map(known_samples, ("train", "test"))
for name, one in {"reserva": pool, "prueba": exam}.items():
    print(f"{name}: {len(one):,} muestras de {one.features.shape[1]} valores")
    print("   ", np.bincount(one.truth, minlength=K).tolist())
assert len(exam)
assert np.isfinite(pool.features).all()

# %%
from sklearn.ensemble import RandomForestClassifier


def forest(x, y, seed):
    return RandomForestClassifier(40, random_state=seed, n_jobs=1).fit(x, y)


methods = ["random", "margin", "k_centre", "cluster"]
budget = min(200, len(pool))

# %%
curves = active.learning_curve(
    pool, exam, forest, classes=K, methods=methods, draws=(0, 1, 2, 3),
    start=min(20, budget), step=30, budget=budget, progress=here.bars,
)  # fmt: skip
assert set(curves["method"]) == set(methods)

# %%
mean = curves.pivot_table(index="labels", columns="method", values="macro_f1")
fig = figures.lines(
    mean[methods], "Lo que vale una etiqueta", "etiquetas", "macro-F1, prueba",
    study=study,
)  # fmt: skip
figures.show(fig, "Macro-F1 según el número de etiquetas, con cuatro métodos")

# %%
by_seed = curves[curves["labels"] > curves["labels"].min()]
by_seed = by_seed.pivot_table(index="seed", columns="method", values="macro_f1")
over = 100 * by_seed[methods[1:]].sub(by_seed["random"], axis=0)
print("puntos de macro-F1 sobre el azar, una fila por semilla:")
print(wording.shown(over.round(1)).to_string())

# %%
better = [m for m in methods[1:] if over[m].mean() > 0]
clear = [m for m in methods[1:] if (over[m] > 0).all()]
print("mejores que el azar en promedio:", ", ".join(better) or "ninguno")
print("mejores con cada semilla:", ", ".join(clear) or "ninguno")
assert len(over) == curves["seed"].nunique()
if delta:
    assert (over < 0).any(axis=None)
    assert better

# %% [markdown] tags=["answer"]
# Las dos últimas líneas responden la pregunta en esta reserva: algunas. Un método puede ser mejor en promedio y peor con alguna semilla, como muestran las filas, así que una sola ejecución no demuestra nada. Lo que puede salir mal: el modelo también duda donde una imagen es mala o donde se juntan dos parcelas. Entonces los márgenes más pequeños no enseñan nada de una clase, o están uno al lado del otro en una parcela. `cluster` y `k_centre` piden muestras distintas. En otros cinco deltas simulados `cluster` fue el mejor y `margin` apenas mejor que el azar (lo cita `active.choose`). Así que el mejor depende del lugar; conserva las etiquetas al azar como comparación.
#
# ### Lugares en el mapa
#
# `next_places` elige píxeles de un mapa; si pides una distancia, uno por parcela. Señala un anillo para ver qué dice el mapa allí. `save` escribe un archivo para un teléfono o un SIG, con una columna vacía para la etiqueta.

# %%
apart = 150 if delta else 0
nearby = active.next_places(
    wide, 12 if delta else 3, method="margin", apart=apart, progress=False
)
said = nearby.table.round(3)
print(nearby.save(runs / "next.csv").name)
figures.show(
    said[["place", "predicted", "probability", "margin", "label_code"]].head(6),
    "Lugares que visitar, primero los más deseados",
)
distance = np.hypot(*(np.subtract.outer(v, v) for v in (nearby.x, nearby.y)))
assert (distance[~np.eye(len(nearby), dtype=bool)] >= apart).all()

# %% tags=["hide-input"]
fig = figures.prediction_map(wide, study=study, title="Lugares que visitar")
words = [
    f"{p}: {study.legend.names()[study.legend.keys.index(k)]}, margen {m}"
    for p, k, m in said[["place", "predicted", "margin"]].to_numpy()
]
for panel, ring in ((1, figures.INK), (2, figures.ACCENT)):
    fig.add_scatter(
        x=nearby.x / 1000, y=nearby.y / 1000, mode="markers", text=words,
        hovertemplate="%{text}<extra></extra>", showlegend=False, row=1,
        col=panel, marker={"size": 12, "symbol": "circle-open",
                           "color": ring, "line": {"width": 3}},
    )  # fmt: skip
figures.show(fig, "Mapa de clases y de márgenes con los lugares que visitar")
assert len(fig.data) >= 2

# %% [markdown]
# :::{admonition} Predice
# :class: predict
# Has etiquetado los 400 píxeles con los márgenes más pequeños. ¿Puedes usarlos para la exactitud del mapa, o para hectáreas?
# :::

# %%
unsure = by_margin(probability, min(400, len(truth) // 2))
right = truth == predicted
print(f"aciertos en todo el mapa: {right.mean():.1%}")
print(f"aciertos entre los elegidos: {right[unsure].mean():.1%}")

# %%
chosen_share = np.bincount(truth[unsure], minlength=K) / len(unsure)
bias = pd.DataFrame({"elegidos": chosen_share, "mapa": true_share}, names)
print(wording.shown((100 * bias).round(1)).to_string())
if delta:
    assert right[unsure].mean() < right.mean() - 0.1

# %% [markdown]
# No. El modelo se equivoca más donde duda, y allí las clases tienen otras proporciones. Ningún peso lo corrige, porque un píxel seguro no podía salir elegido. Las etiquetas para entrenar se pueden elegir; las etiquetas para exactitud y superficies se deben sortear. Guárdalas en dos archivos.
#
# ## 12. Pocas etiquetas
#
# ¿Y si solo hay cinco etiquetas por clase? Las redes de otras personas han leído todas las imágenes de un año y dan una lista corta de números por píxel, un *vector* (una representación vectorial, *embedding*): AlphaEarth y Tessera publican vectores así de toda la Tierra. Un modelo pequeño puede aprender de ellos. Conocen el año entero, así que no pueden ayudar antes de la cosecha.
#
# :::{admonition} Datos simulados
# :class: simulated
# Los vectores del delta no son de ninguna red. Son una mezcla aleatoria de la reflectancia verdadera del suelo en doce meses, sin nubes, con un poco de ruido. Así que son mejores que los reales. Las curvas muestran que el camino funciona, y qué darían los vectores en el mejor caso.
# :::
#
# :::{admonition} Predice
# :class: predict
# Un bosque aprende de las bandas de una ventana, de los vectores o de ambos. ¿Con cuántas etiquetas ayudan más los vectores: 5, 20 o 100 por clase? ¿Son «ambos» siempre lo mejor?
# :::

# %%
from arsetlib import embeddings, seeds

rasters = {}  # los tuyos: {2021: "A_2021.tif", …}, de AlphaEarth o Tessera
needs = sorted(
    {int(y) for r in (pool_rows, exam_rows) for y in r.column("year")}
)
for y in needs if knows_truth else []:
    rasters[y] = runs / f"vectors_{y}.tif"
    simulate.embeddings(study.root, rasters[y], y)
vectors_known = set(needs) <= set(rasters)
print(
    {y: f.name for y, f in rasters.items()} or "no hay vectores de este lugar"
)


# %% tags=["hide-input"]
def vectors_of(rows):
    """(N, 64) los vectores de filas; 0 donde no hay ninguno."""
    when, found = rows.column("year"), None
    for y in np.unique(when):
        x, z = (rows.column(n)[when == y] for n in ("x", "y"))
        meta = rows.meta
        v = embeddings.read(
            rasters[y], x, z, crs=meta.crs, side=meta.resolution
        )
        found = (
            np.zeros((len(when), v.shape[1]), "f4") if found is None else found
        )
        found[when == y] = np.nan_to_num(v)
    return found


# %%
sets = {"bandas": (pool.features, exam.features)}
if vectors_known:
    v = [vectors_of(rows) for rows in (pool_rows, exam_rows)]
    sets["vectores"] = tuple(v)
    sets["ambos"] = tuple(
        np.concatenate([side.features, w], 1)
        for side, w in zip((pool, exam), v, strict=True)
    )
for name, (x, z) in sets.items():
    print(f"{name}: {x.shape[1]} valores por muestra")
    assert (len(x), len(z)) == (len(pool), len(exam))


# %%
def score(name, count, seed):
    """Macro-F1 en la prueba de un bosque con pocas etiquetas de cada clase."""
    order = seeds.generator(seed, "few", count).permutation(len(pool))
    mine = [order[pool.truth[order] == k][:count] for k in range(K)]
    mine = np.concatenate(mine)
    x, z = sets[name]
    answers = forest(x[mine], pool.truth[mine], seed).predict(z)
    return evaluation.Confusion.of(exam.truth, answers, K).macro_f1


# %%
counts = [5, 20, 100]
made_with = {
    name: [[score(name, n, s) for s in range(4)] for n in counts]
    for name in sets
}

# %%
mean = pd.DataFrame(
    {name: np.mean(v, 1) for name, v in made_with.items()},
    pd.Index(counts, name="etiquetas por clase"),
)
spread = pd.DataFrame(
    {name: np.ptp(v, 1) for name, v in made_with.items()}, mean.index
)
for what, values in {"media": mean, "mayor menos menor": spread}.items():
    print(f"{what}:\n{values.round(3).to_string()}")

# %%
fig = figures.lines(
    mean, "Un bosque con pocas etiquetas", "etiquetas por clase", "macro-F1, prueba",
    study=study,
)  # fmt: skip
figures.show(
    fig, "Macro-F1 según etiquetas por clase: bandas, vectores y ambos"
)

# %%
gain = mean.drop(columns="bandas").sub(mean["bandas"], axis=0)
for name in gain:
    print(f"{name}: más puntos con {gain[name].idxmax()} etiquetas por clase")
    print((100 * gain[name]).round(1).to_dict())
if vectors_known:
    print("el mejor de los tres:", mean.idxmax(axis=1).to_dict())
if delta:
    assert gain.loc[5, "ambos"] > gain.loc[100, "ambos"]

# %% [markdown]
# Las líneas impresas responden las dos preguntas. En el delta, «ambos» ganan más con cinco etiquetas por clase que con 100, y no siempre son lo mejor. Compara la ganancia con la diferencia entre semillas antes de creerla: con tan pocas etiquetas, el sorteo decide más que los vectores. Es poco, para vectores que conocen los meses de después de la ventana y no tienen nubes. Dicen qué creció en el año. Si se ve en la fecha del mapa, lo que decide «Sin cultivo en pie», solo está en la ventana.
#
# Con vectores reales usa las mismas llamadas: `embeddings.as_sensor` hace una tabla con ellos, `pixels.join` la pone al lado de las bandas, y `[channels]` en el archivo de estudio la da a cualquier modelo de la práctica 3. Entonces haz la pregunta otra vez, con etiquetas de tu lugar.
#
# ## Lo que has aprendido
#
# - Las etiquetas tienen errores. Algunos se pueden encontrar, y quien los encuentra debe decir cuántos de los hallazgos son correctos.
# - Un conjunto de clases con una promesa la cumple solo con datos como los de su calibración.
# - Un modelo responde en todas partes, también donde nunca se le entrenó para hacerlo.
# - Contar píxeles da una superficie sesgada y sin intervalo. Una muestra aleatoria corrige cualquier mapa.
# - El 95 % es el 95 % si el intervalo cuenta lo que no se vio y si las etiquetas son correctas. Una muestra mayor no corrige etiquetas erróneas.
# - Un mapa por parcela puede ser mejor o peor que uno por píxel. Mídelo.
# - Las etiquetas para entrenar se pueden elegir. Las etiquetas para exactitud y hectáreas se deben sortear.
# - Cada método de esta práctica se comparó con uno sencillo: el recuento, el píxel solo, la elección al azar, las bandas solas.
#
# ## ¿Y si…?
#
# - **¿… nadie puede visitar las parcelas?** `arset sample` y `arset label`: una persona interpreta imágenes en una página que no necesita red. Una segunda persona etiqueta otra vez una parte.
# - **¿… el intervalo es demasiado ancho?** Planea una muestra mayor para esa clase (`target`, `half_width`), o un mapa mejor: las superficies con probabilidades lo premian.
# - **¿… tengo contornos de parcelas?** `arset parcels`, o `parcels.read("farm.gpkg")` en la sección 10.
# - **¿… dos parcelas de un cultivo son un solo segmento?** Prueba un `level` más pequeño, escenas de 10 m u otro `method`; `parcels.score_outlines` compara con contornos que conoces.
# - **¿… tengo dinero para etiquetas?** Primero sortea una muestra para las superficies. Gasta el resto en los lugares que nombra `active.next_places`.
# - **¿… quiero seguir?** Toma tu propio lugar: sección 1, `source = "mine.toml"`. Lo que necesita una verdad conocida se omite, o se hace con las etiquetas, y se dice.
